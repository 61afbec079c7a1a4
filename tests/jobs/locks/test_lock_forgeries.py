"""Ten thousand forged, altered and expired tokens; `make forge-locks` verifies a million."""

from __future__ import annotations

from infra.reports.fuzz.lock_forgeries import FORGERIES, NOW_MS, Workshop, attack
from jobs.locks.tokens import verify


def test_none_of_ten_thousand_forgeries_is_accepted() -> None:
    found = attack(10_000, seed=67)
    assert found.accepted == [] and found.genuine_refused == 0
    assert found.refused.total() == 10_000
    assert {name.split(":")[0] for name in found.refused} == {forge.__name__ for forge in FORGERIES}


def test_token_that_the_forgeries_start_from_is_accepted() -> None:
    shop = Workshop(3)
    for _ in range(20):
        shop.renew()
        assert verify(shop.token, shop.keys, NOW_MS) == shop.lock
