"""A model of Redis, Kafka, edges and rebuilds in one process, whose steps run in a random order.

Each edge runs :class:`jobs.locks.redemption.Redeemer` itself. The model replaces Redis' scripts, the topic and the
rebuild by small equivalents. Every call waits at a gate, and a seeded scheduler opens one gate after another, so
that any step of one task may fall between any two steps of another. A record may arrive long after its edge has
given it up, and Redis may lose its data at any time.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Coroutine
from typing import Any

from jobs.connectors.kafka.redemption_log import record_bytes
from jobs.locks.history import RedemptionHistory
from jobs.locks.redemption import (
    LockUsedError,
    Redeemer,
    RedemptionUnavailableError,
    Reservation,
    ReservationState,
    UnreachableError,
)
from schemas.records.operator_events import Redemption, RedemptionKind
from tests.jobs.locks.lock_builders import KEYS, NOW, a_token

TOKENS = {lock_id: a_token(lock_id) for lock_id in ("a" * 32, "b" * 32)}


class Scheduler:
    """Opens the gates of waiting tasks in a random order."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._gates: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def gate(self) -> None:
        gate = asyncio.get_running_loop().create_future()
        self._gates.append(gate)
        await gate

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task

    async def run(self) -> None:
        while self._gates or not all(task.done() for task in self._tasks):
            for _ in range(6):
                await asyncio.sleep(0)
            if self._gates:
                self._gates.pop(self.rng.randrange(len(self._gates))).set_result(None)
        for task in self._tasks:
            task.result()


class Market:
    """Redis, the topic, and what was acknowledged.

    Parameters
    ----------
    without : safeguards that this run leaves out, of SAFEGUARDS.
    """

    def __init__(self, rng: random.Random, without: frozenset[str]) -> None:
        self.scheduler, self.rng, self.without = Scheduler(rng), rng, without
        self.ready = ""
        self.held: dict[str, tuple[bool, str]] = {}
        self.partition: list[dict[str, Any]] = []
        self.writer = 0
        self.acknowledged: dict[str, set[str]] = {}
        self.answers: dict[tuple[str, str], set[str]] = {}

    async def lose_redis(self) -> None:
        await self.scheduler.gate()
        self.ready, self.held = "", {}

    async def reserve(
        self, lock_id: str, order_id: str, answer: str, *, expires_ms: int, now_ms: int, new: bool
    ) -> Reservation:
        await self.scheduler.gate()
        if not self.ready.startswith("ready "):
            return Reservation(ReservationState.NOT_READY)
        epoch = self.ready.removeprefix("ready ")
        confirmed, kept = self.held.setdefault(lock_id, (False, answer))
        if json.loads(kept)["order_id"] != order_id:
            return Reservation(ReservationState.TAKEN, epoch)
        state = ReservationState.CONFIRMED if confirmed else ReservationState.RESERVED
        await self.scheduler.gate()
        if self.rng.random() < 0.1:
            raise UnreachableError("the reply of Redis was lost")
        return Reservation(state, epoch, kept)

    async def confirm(self, lock_id: str, order_id: str, epoch: str) -> bool:
        await self.scheduler.gate()
        if "epoch compared by confirm" not in self.without and self.ready != f"ready {epoch}":
            return False
        kept = self.held.get(lock_id)
        if kept is None or json.loads(kept[1])["order_id"] != order_id:
            return False
        self.held[lock_id] = (True, kept[1])
        await self.scheduler.gate()
        if self.rng.random() < 0.1:
            raise UnreachableError("the reply of Redis was lost")
        return True

    async def append(self, redemption: Redemption) -> None:
        async def arrive() -> None:
            await self.scheduler.gate()
            self.partition.append(json.loads(record_bytes(redemption)))

        arrival = self.scheduler.start(arrive())
        if self.rng.random() < 0.2:
            await self.scheduler.gate()
            raise UnreachableError("not acknowledged in time; the record may still arrive")
        await arrival
        await self.scheduler.gate()

    async def rebuild(self, epoch: str) -> None:
        """The steps of jobs.connectors.redis.redemption_rebuild, each at a gate of its own."""
        gate = self.scheduler.gate
        await gate()
        if "redemptions are refused first" not in self.without:
            self.ready, self.held = f"rebuilding {epoch}", {}
        await gate()
        # Kafka fences the writer of every rebuild that has registered before.
        self.writer = writer = self.writer + 1
        await gate()
        asks = not {"rebuild asks whether it is current", "redemptions are refused first"} & self.without
        if asks and self.ready != f"rebuilding {epoch}":
            return
        await gate()
        if "older writers are fenced" not in self.without and self.writer != writer:
            return
        self.partition.append(json.loads(record_bytes(Redemption(RedemptionKind.EPOCH, epoch))))
        await gate()
        used = self.used()
        await gate()
        if "redemptions are refused first" in self.without:
            self.ready = f"rebuilding {epoch}"
        if self.ready == f"rebuilding {epoch}":
            self.held = {lock_id: (True, json.dumps(answer)) for lock_id, answer in used.items()}
            await gate()
            if self.ready == f"rebuilding {epoch}":
                self.ready = f"ready {epoch}"

    def used(self) -> dict[str, dict[str, Any]]:
        """Return the redemptions that count, by the topic alone."""
        history = RedemptionHistory(NOW)
        for record in self.partition:
            if "late records are void" not in self.without or record["kind"] == RedemptionKind.REDEEMED:
                history.take(0, record)
        return history.used

    async def shop(self, lock_id: str, order_id: str) -> None:
        """Redeem a lock for an order at some edge, and repeat the request while it is unavailable."""
        for _ in range(self.rng.randrange(1, 9)):
            edge = Redeemer(lambda now_ms: KEYS, self, self, lambda: NOW + self.rng.randrange(1_000))
            try:
                answer = await edge.redeem(TOKENS[lock_id], order_id)
            except LockUsedError:
                return
            except RedemptionUnavailableError:
                await self.scheduler.gate()
                continue
            self.acknowledged.setdefault(lock_id, set()).add(order_id)
            self.answers.setdefault((lock_id, order_id), set()).add(json.dumps(answer))


SAFEGUARDS = {
    "epoch compared by confirm": 665,
    "late records are void": 52,
    "redemptions are refused first": 18,
    "rebuild asks whether it is current": 260,
    "older writers are fenced": 231,
}
"""Safeguards of the protocol, each with a seed whose run goes wrong without it."""


def run_market(seed: int, *, without: frozenset[str] = frozenset()) -> Market:
    """Run three orders on each of two locks, twice, with losses of Redis and concurrent rebuilds."""
    rng = random.Random(seed)
    market = Market(rng, without)

    async def scenario() -> None:
        market.scheduler.start(market.rebuild("e0"))
        await market.scheduler.run()
        for lock_id in sorted(TOKENS):
            for order_id in ("o1", "o2", "o3", "o1"):
                market.scheduler.start(market.shop(lock_id, order_id))
        for number in range(rng.randrange(4)):
            if rng.random() < 0.8:
                market.scheduler.start(market.lose_redis())
            market.scheduler.start(market.rebuild(f"e{number + 1}"))
        await market.scheduler.run()
        # An undisturbed rebuild, and every order that was acknowledged asks again.
        market.scheduler.start(market.rebuild("last"))
        await market.scheduler.run()

    asyncio.run(scenario())
    return market
