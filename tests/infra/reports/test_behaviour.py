"""Decisions on a small fixed input equal the stored ones.

After an intended change, ``python -m tests.infra.reports.test_behaviour`` writes the stored file again.
"""

from __future__ import annotations

from pathlib import Path

from infra.reports.behaviour import decision_lines, differences
from infra.reports.inputs.fixed_inputs import simulated

STORED = Path(__file__).parents[2] / "golden" / "behaviour.jsonl"
MINUTES, SKUS, EVENTS_PER_MINUTE = 120, 6, 120.0


def test_decisions_equal_the_stored_ones() -> None:
    lines = decision_lines(simulated(MINUTES, SKUS, EVENTS_PER_MINUTE))
    found = [text for text, _ in differences(STORED.read_bytes().splitlines(), lines)]
    assert not found, found[:10]


def test_changed_price_is_a_difference() -> None:
    stored = STORED.read_bytes().splitlines()
    changed = [stored[0].replace(b'"default_minor":', b'"default_minor":1'), *stored[1:]]
    assert [text for text, _ in differences(stored, changed)] != []


if __name__ == "__main__":
    STORED.write_bytes(b"\n".join(decision_lines(simulated(MINUTES, SKUS, EVENTS_PER_MINUTE))) + b"\n")
