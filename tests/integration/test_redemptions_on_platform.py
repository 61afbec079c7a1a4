"""Redemptions on a broker and Redis that are killed: no lock is used twice, and no acknowledged one is lost."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from infra.local.continuity import fill_redis
from infra.local.parts import broker_ready, redis_ready
from infra.reports.chaos.disturbances import kill
from infra.reports.waiting import until
from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.kafka.redemption_log import KafkaRedemptionLog
from jobs.connectors.redis.redemption_rebuild import rebuild_redemptions
from jobs.connectors.redis.redemptions import AsyncRedemptions, RedemptionStore
from jobs.locks.history import RedemptionHistory
from jobs.locks.redemption import LockUsedError, Redeemer, RedemptionUnavailableError
from schemas.topics import TOPICS
from tests.jobs.locks.lock_builders import KEYS, a_token

if TYPE_CHECKING:
    from infra.local.platform import Platform

pytestmark = pytest.mark.platform
LOCKS = 200
LOCK_S = 1800


def restart_broker(platform: Platform) -> None:
    kill(platform, "broker")
    until("the broker responds", lambda: broker_ready(platform.env) is None, 120)


def restart_redis(platform: Platform) -> None:
    kill(platform, "redis")
    until("Redis responds", lambda: redis_ready(platform.env) is None, 60)
    fill_redis(platform.env, lambda line: None)


def test_killed_redis_and_broker_lose_no_redemption_and_repeat_none(local_platform: Platform) -> None:
    """Two edges redeem each lock for an order of their own; each disturbance finds a part of its locks used."""
    redis, kafka = local_platform.env["WALRAS_REDIS"], local_platform.env["WALRAS_KAFKA"]
    clock = local_platform.settings().run_clock  # rebuilds leave out locks that have long expired by this clock
    issued_s = clock.now_ms() // 1000
    tokens = {"issued_s": issued_s, "expires_s": issued_s + LOCK_S}
    locks = [secrets.token_hex(16) for _ in range(LOCKS)]
    acknowledged: dict[str, set[str]] = {lock: set() for lock in locks}

    async def shop(edge: Redeemer, lock: str, order: str, some_used: asyncio.Event) -> None:
        token = a_token(lock, **tokens)
        while True:
            try:
                await edge.redeem(token, order)
            except LockUsedError:
                return
            except RedemptionUnavailableError:
                await asyncio.sleep(0.1)
            else:
                acknowledged[lock].add(order)
                some_used.set()
                return

    async def scenario() -> None:
        reservations = [AsyncRedemptions(redis) for _ in range(2)]
        logs = [KafkaRedemptionLog(kafka) for _ in range(2)]
        edges = [Redeemer(lambda _: KEYS, *ports, clock.now_ms) for ports in zip(reservations, logs, strict=True)]
        shops = []
        for number, disturb in enumerate((restart_broker, restart_redis)):
            some_used = asyncio.Event()
            shops += [
                asyncio.create_task(shop(edge, lock, f"{lock}-{i}", some_used))
                for lock in locks[number::2] for i, edge in enumerate(edges)
            ]  # fmt: skip
            await some_used.wait()
            await asyncio.to_thread(disturb, local_platform)
        await asyncio.gather(*shops)
        for each in reservations:
            await each.close()
        for log in logs:
            log.close()

    asyncio.run(asyncio.wait_for(scenario(), 400))
    assert {len(orders) for orders in acknowledged.values()} == {1}
    history = RedemptionHistory(clock.now_ms())
    for record in read_topic(kafka, TOPICS["redemptions"].topic):
        history.take(record.partition, record.json())
    assert {lock: {history.used[lock]["order_id"]} for lock in locks} == acknowledged
    with closing(RedemptionStore(redis)) as store:
        assert rebuild_redemptions(store, kafka, clock.now_ms()).used >= LOCKS
