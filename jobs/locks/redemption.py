"""Redeemer: a price lock is used up once, by one order, and acknowledged after Kafka has the record.

A redemption has three steps:

1. *reserve* the lock for the order in Redis, which gives the present epoch;
2. *append* the redemption with that epoch to the topic, and wait until all replicas have it;
3. *confirm* in Redis, which fails if the epoch has changed.

A failure at any step is answered with :class:`RedemptionUnavailableError`. The order may then repeat its request,
which continues where the first one stopped. Decision 67 has the argument why no two orders are acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from jobs.locks.history import ANSWER_FIELDS
from jobs.locks.keys import LockKeys
from jobs.locks.tokens import LockCode, LockError, utc, verify
from schemas.records.operator_events import Redemption, RedemptionKind
from schemas.topics import IDENTIFIER

MAX_ORDER_ID = 128


class ReservationState(StrEnum):
    """What Redis holds for a lock after a reservation was tried."""

    RESERVED = "reserved"
    """For this order, not yet confirmed: reserved now, or by an earlier request."""
    CONFIRMED = "confirmed"
    """For this order, with a redemption that Kafka has."""
    TAKEN = "taken"
    """For another order."""
    ABSENT = "absent"
    """Nothing, and the lock could not be reserved because it has expired."""
    NOT_READY = "not_ready"
    """Unknown: Redis has lost the redemptions and is being rebuilt."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Result of a reservation: its state, the present epoch, and the stored answer of this order as JSON."""

    state: ReservationState
    epoch: str = ""
    answer: str = ""


class UnreachableError(RuntimeError):
    """Redis or Kafka does not answer, or has not answered in time; the step may have been done or not."""


class Reservations(Protocol):
    """Reservations of locks, shared by all edges of a deployment (Redis)."""

    async def reserve(
        self, lock_id: str, order_id: str, answer: str, *, expires_ms: int, now_ms: int, new: bool
    ) -> Reservation:
        """Reserve a lock for an order if no order has it.

        Parameters
        ----------
        answer : the reply to this order as JSON; the answer of an earlier request of this order is kept.
        new : whether the lock may be reserved; else only what is held is read.

        Raises
        ------
        UnreachableError
        """

    async def confirm(self, lock_id: str, order_id: str, epoch: str) -> bool:
        """Mark a reservation as logged; return False if the epoch has changed or the order does not hold the lock.

        Raises
        ------
        UnreachableError
        """


class RedemptionLog(Protocol):
    """The topic ``redemptions``."""

    async def append(self, redemption: Redemption) -> None:
        """Write a record and return when every in-sync replica has it.

        Raises
        ------
        UnreachableError
        """


class OrderIdError(ValueError):
    """A text that is no id of an order; the message has what was expected and what was given."""


class LockUsedError(Exception):
    """Another order has reserved or used the lock."""


class RedemptionUnavailableError(Exception):
    """The redemption is not acknowledged now; the same order may repeat it.

    Attributes
    ----------
    retry_after_s : seconds after which a repetition is sensible.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


REBUILD_RETRY_S, FAILURE_RETRY_S = 5, 1
"""``retry_after_s`` while Redis is rebuilt, which takes seconds, and after another failure."""


class Redeemer:
    """Uses up price locks.

    Parameters
    ----------
    keys : returns the keys of the deployment at a time.
    now_ms : returns the run's time, epoch ms.
    """

    def __init__(
        self,
        keys: Callable[[int], LockKeys],
        reservations: Reservations,
        redemptions: RedemptionLog,
        now_ms: Callable[[], int],
    ) -> None:
        self._keys, self._reservations, self._redemptions, self._now_ms = keys, reservations, redemptions, now_ms

    async def redeem(self, token: str, order_id: str, tenant: str = "") -> dict[str, Any]:
        """Use up a lock; return the redemption. A repeated call of the same order returns the same.

        Parameters
        ----------
        tenant : the one whose locks the caller may redeem; "" for every tenant.

        Raises
        ------
        LockError
            If the token is no genuine lock, or has expired and was not redeemed by this order.
        OrderIdError
            If the order id is not 1 to 128 characters without control characters and vertical bars.
        LockUsedError
            If another order has the lock.
        RedemptionUnavailableError
            If Redis or Kafka does not answer, or Redis is being rebuilt.
        """
        check_order_id(order_id)
        now_ms = self._now_ms()
        lock = verify(token, self._keys(now_ms), now_ms, expired=True)
        if tenant not in ("", lock.listing.tenant):
            raise LockError(LockCode.WRONG_CLAIMS, f"expected a lock of the key's tenant {tenant}")
        expired = now_ms >= lock.expires_ms
        mine = {
            "lock_id": lock.lock_id, "order_id": order_id, "redeemed_at_ms": now_ms, "expires_ms": lock.expires_ms,
            "tenant": lock.listing.tenant, "market": lock.listing.market, "sku": lock.listing.sku,
            "customer": lock.customer, "price_minor": lock.price_minor, "currency": lock.currency,
            "version": lock.version, "quote_id": lock.quote_id,
        }  # fmt: skip
        try:
            held = await self._reservations.reserve(
                lock.lock_id, order_id, json.dumps(mine), expires_ms=lock.expires_ms, now_ms=now_ms,
                new=not expired,
            )  # fmt: skip
            if held.state is ReservationState.NOT_READY:
                raise RedemptionUnavailableError(
                    "redemptions are being rebuilt from Kafka; repeat the request with the same order_id",
                    REBUILD_RETRY_S,
                )
            if held.state is ReservationState.TAKEN:
                raise LockUsedError(f"lock {lock.lock_id}: expected the order that has it, got another order")
            if held.state is ReservationState.ABSENT:
                raise LockError(
                    LockCode.EXPIRED,
                    f"expected a lock that is still valid, got one that expired at {utc(lock.expires_s)} by the "
                    "run's clock and that this order has not redeemed; ask for a new quote",
                )
            answer: dict[str, Any] = json.loads(held.answer)
            if held.state is ReservationState.CONFIRMED:
                return answer
            record = {name: answer[name] for name in ANSWER_FIELDS}
            await self._redemptions.append(Redemption(RedemptionKind.REDEEMED, held.epoch, **record))
            if not await self._reservations.confirm(lock.lock_id, order_id, held.epoch):
                raise RedemptionUnavailableError(
                    "Redis was rebuilt meanwhile; repeat the request with the same order_id", REBUILD_RETRY_S
                )
        except UnreachableError as error:
            raise RedemptionUnavailableError(
                f"{error}; repeat the request with the same order_id", FAILURE_RETRY_S
            ) from error
        return answer


def check_order_id(order_id: str) -> None:
    """Raise OrderIdError unless the text is the id of an order.

    >>> check_order_id("order-1")
    >>> check_order_id("a|b")
    Traceback (most recent call last):
    ...
    jobs.locks.redemption.OrderIdError: order_id: expected 1 to 128 characters, no control characters, \
no vertical bar; got 'a|b'
    """
    if not 1 <= len(order_id) <= MAX_ORDER_ID or not IDENTIFIER.allows(order_id):
        raise OrderIdError(
            f"order_id: expected 1 to {MAX_ORDER_ID} characters, {IDENTIFIER.words}; got {order_id[:200]!r}"
        )
