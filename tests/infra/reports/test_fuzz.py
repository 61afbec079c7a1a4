"""Hostile records through the chain."""

from __future__ import annotations

from infra.reports.fuzz.chain_fuzz import run
from schemas.codes import RejectCode


def test_hostile_records_break_no_invariant() -> None:
    found = run(20_000, seed=1, buckets=3, minutes=90)
    assert found.broken == []
    # The input causes every refusal that needs no catalog, and decisions of many kinds.
    unseen = set(RejectCode) - set(found.refused)
    assert unseen <= {RejectCode.UNKNOWN_LISTING, RejectCode.WRONG_CURRENCY}
    assert len(found.decisions) > 10
