"""Decisions on a small fixed input are those that are stored; a change of behaviour has to be deliberate.

After a deliberate change: ``python -m tests.infra.reports.test_behaviour`` writes the stored file anew.
"""

from __future__ import annotations

from pathlib import Path

from infra.reports.behaviour import decision_lines, differences, simulated

STORED = Path(__file__).parents[2] / "golden" / "behaviour.jsonl"
MINUTES, SKUS, EVENTS_PER_MINUTE = 120, 6, 120.0


def test_decisions_on_a_fixed_input_are_the_stored_ones() -> None:
    lines = decision_lines(simulated(MINUTES, SKUS, EVENTS_PER_MINUTE))
    found = [text for text, _ in differences(STORED.read_bytes().splitlines(), lines)]
    assert not found, found[:10]


def test_a_change_of_one_price_is_found() -> None:
    stored = STORED.read_bytes().splitlines()
    changed = [stored[0].replace(b'"default_minor":', b'"default_minor":1'), *stored[1:]]
    assert [text for text, _ in differences(stored, changed)] != []


if __name__ == "__main__":
    STORED.write_bytes(b"\n".join(decision_lines(simulated(MINUTES, SKUS, EVENTS_PER_MINUTE))) + b"\n")
