"""The generated page of input limits."""

from __future__ import annotations

from jobs.replay.input_limits import MAPPABLE, PAGE, limits_page


def test_the_page_of_limits_is_in_step_with_the_contracts() -> None:
    assert PAGE.read_text(encoding="utf-8") == limits_page(), "run `make schemas`"


def test_the_page_lists_every_field_of_every_stream_that_a_mapping_can_make() -> None:
    rows = [line for line in limits_page().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(topic.checks) for topic in MAPPABLE)
