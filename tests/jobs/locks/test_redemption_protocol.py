"""No lock is used by two orders and no acknowledged redemption is lost, in any order of the steps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs.locks.redemption import Redeemer, RedemptionUnavailableError, Reservation, ReservationState
from jobs.locks.tokens import LockCode, LockError
from tests.jobs.locks.lock_builders import KEYS, MINUTE, NOW, a_token
from tests.jobs.locks.redemption_model import SAFEGUARDS, Market, run_market

RUNS = 500


def broken(market: Market) -> list[str]:
    """Return what is wrong with the acknowledgements of a run."""
    used = market.used()
    twice = [f"{lock}: {sorted(orders)}" for lock, orders in market.acknowledged.items() if len(orders) > 1]
    lost = [
        f"{lock}: {sorted(orders)} acknowledged, {used.get(lock)} in the topic"
        for lock, orders in market.acknowledged.items()
        if used.get(lock, {}).get("order_id") not in orders
    ]
    differ = [f"{order}: {sorted(answers)}" for order, answers in market.answers.items() if len(answers) > 1]
    return twice + lost + differ


def test_no_redemption_is_acknowledged_twice_or_lost() -> None:
    acknowledged = 0
    for seed in range(RUNS):
        market = run_market(seed)
        assert broken(market) == [], f"seed {seed}"
        acknowledged += len(market.acknowledged)
    assert acknowledged > RUNS


@pytest.mark.parametrize(("safeguard", "seed"), SAFEGUARDS.items())
def test_every_safeguard_is_needed(safeguard: str, seed: int) -> None:
    assert broken(run_market(seed, without=frozenset({safeguard})))
    assert broken(run_market(seed)) == []


class Answering:
    """Reservations and a topic with fixed results."""

    def __init__(self, state: ReservationState, answer: str = "") -> None:
        self.reservation, self.appended, self.reserved_new = Reservation(state, "e1", answer), 0, True

    async def reserve(self, *_: Any, new: bool, **__: Any) -> Reservation:
        self.reserved_new = new
        return self.reservation

    async def confirm(self, *_: Any) -> bool:
        return True

    async def append(self, _: Any) -> None:
        self.appended += 1


def redeem(port: Answering, *, now_ms: int = NOW, order_id: str = "o1") -> dict[str, Any]:
    return asyncio.run(Redeemer(lambda _: KEYS, port, port, lambda: now_ms).redeem(a_token(), order_id))


def test_redemption_is_refused_while_redis_is_rebuilt() -> None:
    port = Answering(ReservationState.NOT_READY)
    with pytest.raises(RedemptionUnavailableError) as unavailable:
        redeem(port)
    assert unavailable.value.retry_after_s >= 1 and port.appended == 0


def test_expired_lock_is_read_and_not_reserved() -> None:
    port = Answering(ReservationState.ABSENT)
    with pytest.raises(LockError) as refused:
        redeem(port, now_ms=NOW + 30 * MINUTE)
    assert refused.value.code is LockCode.EXPIRED and not port.reserved_new and port.appended == 0


def test_confirmed_redemption_is_answered_again_after_the_expiry() -> None:
    port = Answering(ReservationState.CONFIRMED, '{"order_id": "o1"}')
    assert redeem(port, now_ms=NOW + 30 * MINUTE) == {"order_id": "o1"} and port.appended == 0


@pytest.mark.parametrize("order_id", ["", "x" * 129, "a|b", "a\nb"])
def test_bad_order_id_is_refused(order_id: str) -> None:
    with pytest.raises(ValueError, match="order_id: expected 1 to 128 characters"):
        redeem(Answering(ReservationState.RESERVED), order_id=order_id)
