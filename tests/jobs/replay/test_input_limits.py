"""The generated page of input limits."""

from __future__ import annotations

from jobs.replay.input_limits import MAPPABLE, PAGE, limits_page


def test_limits_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == limits_page(), "run `make schemas`"


def test_limits_page_lists_every_mappable_field() -> None:
    rows = [line for line in limits_page().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(topic.checks) for topic in MAPPABLE)
