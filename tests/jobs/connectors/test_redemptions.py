"""Redemptions on a real Redis and librdkafka's mock broker: scripts, rebuilds, and a Redis that is killed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from jobs.connectors.kafka.offsets import SILENT
from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.kafka.redemption_log import EpochReplacedError, KafkaRedemptionLog, start_epoch
from jobs.connectors.redis.redemption_rebuild import rebuild_redemptions
from jobs.connectors.redis.redemptions import (
    EXPIRY_KEY,
    LOCKS_KEY,
    READY_KEY,
    REMOVED_PER_RESERVATION,
    AsyncRedemptions,
    RedemptionStore,
)
from jobs.locks.history import KEPT_AFTER_EXPIRY_MS
from jobs.locks.redemption import (
    LockUsedError,
    Redeemer,
    RedemptionUnavailableError,
    Reservation,
    ReservationState,
    UnreachableError,
)
from schemas.records.operator_events import Redemption
from schemas.topics import TOPICS
from tests.jobs.locks.lock_builders import KEYS, NOW, a_token

TOPIC = TOPICS["redemptions"].topic
RESERVED, CONFIRMED, TAKEN = ReservationState.RESERVED, ReservationState.CONFIRMED, ReservationState.TAKEN


@pytest.fixture
def store(redis_server: Any) -> Iterator[RedemptionStore]:
    """Redemptions on an empty Redis that accepts them, in epoch ``e1``."""
    with closing(RedemptionStore(redis_server.url)) as store:
        store.begin("e1")
        assert store.finish("e1") and store.ready() == "e1"
        yield store


def reserve_all(url: str, wanted: list[tuple[str, str]], **more: Any) -> list[Reservation]:
    """Reserve locks for orders, one after another."""

    async def scenario() -> list[Reservation]:
        redemptions = AsyncRedemptions(url)
        values: dict[str, Any] = {"expires_ms": NOW + 1, "now_ms": NOW, "new": True} | more
        found = [
            await redemptions.reserve(lock, order, json.dumps({"order_id": order}), **values)
            for lock, order in wanted
        ]
        await redemptions.close()
        return found

    return asyncio.run(scenario())


def confirm(url: str, lock_id: str, order_id: str, epoch: str) -> bool:
    async def scenario() -> bool:
        redemptions = AsyncRedemptions(url)
        done = await redemptions.confirm(lock_id, order_id, epoch)
        await redemptions.close()
        return done

    return asyncio.run(scenario())


def test_lock_is_reserved_for_one_order(redis_server: Any, store: RedemptionStore) -> None:
    found = reserve_all(redis_server.url, [("l", "größe 😀"), ("l", "größe 😀"), ("l", "o2"), ("m", "o2")])
    assert [each.state for each in found] == [RESERVED, RESERVED, TAKEN, RESERVED]
    assert {each.epoch for each in found} == {"e1"}
    assert json.loads(found[1].answer) == {"order_id": "größe 😀"}


def test_reservation_is_confirmed_by_its_order_in_its_epoch(redis_server: Any, store: RedemptionStore) -> None:
    reserve_all(redis_server.url, [("l", "o1")])
    assert not confirm(redis_server.url, "l", "o2", "e1")
    assert not confirm(redis_server.url, "l", "o1", "e0")
    assert not confirm(redis_server.url, "m", "o1", "e1")
    assert confirm(redis_server.url, "l", "o1", "e1")
    assert [each.state for each in reserve_all(redis_server.url, [("l", "o1"), ("l", "o2")])] == [CONFIRMED, TAKEN]


def test_lock_that_may_not_be_reserved_is_only_read(redis_server: Any, store: RedemptionStore) -> None:
    [found] = reserve_all(redis_server.url, [("l", "o1")], new=False)
    assert found.state is ReservationState.ABSENT
    assert redis_server.client.hlen(LOCKS_KEY) == 0


def test_empty_redis_refuses_reservations(redis_server: Any) -> None:
    [found] = reserve_all(redis_server.url, [("l", "o1")])
    assert found.state is ReservationState.NOT_READY


def test_redis_with_a_copy_of_older_data_refuses_reservations(redis_server: Any, store: RedemptionStore) -> None:
    """A process that has loaded its data from a file has another run id."""
    redis_server.client.set(READY_KEY, f"ready e1 {'0' * 40}")
    assert store.ready() is None
    assert reserve_all(redis_server.url, [("l", "o1")])[0].state is ReservationState.NOT_READY
    assert not confirm(redis_server.url, "l", "o1", "e1")


def test_expired_entries_are_removed_a_few_at_a_time(redis_server: Any, store: RedemptionStore) -> None:
    locks = [(f"l{i}", "o1") for i in range(3 * REMOVED_PER_RESERVATION)]
    reserve_all(redis_server.url, locks)
    end = NOW + 1 + KEPT_AFTER_EXPIRY_MS
    reserve_all(redis_server.url, [("m", "o1")], now_ms=end - 1)
    assert redis_server.client.hlen(LOCKS_KEY) == len(locks) + 1
    for left in (2, 1, 0):
        reserve_all(redis_server.url, [("m", "o1")], now_ms=end, expires_ms=end)
        assert redis_server.client.hlen(LOCKS_KEY) <= left * REMOVED_PER_RESERVATION + 1
    assert redis_server.client.hlen(LOCKS_KEY) == redis_server.client.zcard(EXPIRY_KEY) <= 1


def test_replaced_rebuild_cannot_write(redis_server: Any) -> None:
    used = {"l": {"order_id": "o1", "expires_ms": NOW}}
    with closing(RedemptionStore(redis_server.url)) as store:
        store.begin("e1")
        store.begin("e2")
        assert not store.fill("e1", used) and not store.finish("e1")
        assert store.fill("e2", used) and store.finish("e2") and store.ready() == "e2"
        assert not store.is_rebuilding("e2")


def test_redis_without_an_answer_is_reported_as_unreachable() -> None:
    with pytest.raises(UnreachableError, match="Redis does not answer"):
        reserve_all("redis://127.0.0.1:1/0", [("l", "o1")])


def test_unreachable_broker_is_reported_in_time() -> None:
    log = KafkaRedemptionLog("127.0.0.1:1", timeout_s=0.3)
    with pytest.raises(UnreachableError, match="Kafka"):
        asyncio.run(log.append(Redemption("redeemed", "e1", "l", "o1")))
    log.close()


def test_producer_with_a_fatal_error_is_replaced(broker: str) -> None:
    class Fatal:
        def produce(self, *_: Any, **__: Any) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL))

    async def scenario() -> None:
        log = KafkaRedemptionLog(broker)
        log._producer = Fatal()  # type: ignore[assignment]
        with pytest.raises(UnreachableError, match="Kafka"):
            await log.append(redemption("e1", "o1"))
        await log.append(redemption("e1", "o1"))
        log.close()

    asyncio.run(scenario())
    assert len(list(read_topic(broker, TOPIC))) == 1


def append(broker: str, *records: Redemption) -> None:
    async def scenario() -> None:
        log = KafkaRedemptionLog(broker)
        for record in records:
            await log.append(record)
        log.close()

    asyncio.run(scenario())


def redemption(epoch: str, order_id: str, **more: Any) -> Redemption:
    return Redemption("redeemed", epoch, "l", order_id, **{"redeemed_at_ms": NOW, "expires_ms": NOW + 1} | more)


def test_rebuild_restores_redemptions_and_ignores_those_of_an_older_epoch(redis_server: Any, broker: str) -> None:
    with closing(RedemptionStore(redis_server.url)) as store:
        append(broker, redemption("e0", "o1"))
        first = rebuild_redemptions(store, broker, NOW)
        assert (first.used, first.void) == (1, 0)
        late = Redemption("redeemed", "e0", "other", "o9", NOW, NOW + 1)
        append(broker, late, redemption(store.ready() or "", "o1"))
        redis_server.kill()
        redis_server.start()
        assert store.ready() is None
        second = rebuild_redemptions(store, broker, NOW)
    assert (second.used, second.void, second.unreadable) == (1, 1, 0)
    found = reserve_all(redis_server.url, [("l", "o1"), ("l", "o2"), ("other", "o2")])
    assert [each.state for each in found] == [CONFIRMED, TAKEN, RESERVED]
    assert json.loads(found[0].answer)["redeemed_at_ms"] == NOW


def test_rebuild_leaves_out_locks_that_have_long_expired(redis_server: Any, broker: str) -> None:
    append(broker, redemption("e0", "o1", expires_ms=NOW - KEPT_AFTER_EXPIRY_MS))
    with closing(RedemptionStore(redis_server.url)) as store:
        assert rebuild_redemptions(store, broker, NOW).used == 0


def test_rebuild_survives_lines_that_are_no_redemptions(redis_server: Any, broker: str) -> None:
    producer = Producer({"bootstrap.servers": broker, "logger": SILENT})
    for line in (b"{", b"[]", b'{"kind":"redeemed"}', b'{"kind":"?","epoch":"e"}', None):
        producer.produce(TOPIC, line, key=b"l")
    assert producer.flush(10) == 0
    with closing(RedemptionStore(redis_server.url)) as store:
        done = rebuild_redemptions(store, broker, NOW)
        assert (done.used, done.unreadable) == (0, 5) and store.ready()


def test_replaced_rebuild_starts_no_epoch(broker: str) -> None:
    append(broker, redemption("e0", "o1"))
    with pytest.raises(EpochReplacedError):
        start_epoch(broker, "e1", lambda: False)
    assert [record.json()["kind"] for record in read_topic(broker, TOPIC)] == ["redeemed"]


def test_every_partition_gets_the_start_of_an_epoch(broker: str) -> None:
    append(broker, redemption("e0", "o1"))
    start_epoch(broker, "e1", lambda: True)
    starts = [record for record in read_topic(broker, TOPIC) if record.json()["kind"] == "epoch"]
    assert sorted(record.partition for record in starts) == list(range(len(starts))) and len(starts) > 1
    assert {record.json()["epoch"] for record in starts} == {"e1"}


def test_killed_redis_loses_no_redemption_and_repeats_none(redis_server: Any, broker: str) -> None:
    """Two edges redeem 60 locks for two orders each, while Redis is killed twice and rebuilt."""
    locks = [f"{number:032x}" for number in range(60)]
    tokens = {lock: a_token(lock) for lock in locks}
    acknowledged: dict[str, set[str]] = {lock: set() for lock in locks}
    repeated = Counter[str]()

    async def shop(edge: Redeemer, lock: str, order: str) -> None:
        while True:
            try:
                await edge.redeem(tokens[lock], order)
            except LockUsedError:
                return
            except RedemptionUnavailableError:
                repeated[lock] += 1
                await asyncio.sleep(0.01)
                continue
            acknowledged[lock].add(order)
            return

    async def scenario() -> None:
        reservations = [AsyncRedemptions(redis_server.url, timeout_s=0.5) for _ in range(2)]
        logs = [KafkaRedemptionLog(broker) for _ in range(2)]
        edges = [Redeemer(lambda _: KEYS, *ports, lambda: NOW) for ports in zip(reservations, logs, strict=True)]
        store = RedemptionStore(redis_server.url)
        await asyncio.to_thread(rebuild_redemptions, store, broker, NOW)
        for third in range(3):
            mine = locks[20 * third : 20 * third + 20]
            shops = [
                asyncio.create_task(shop(edge, lock, f"{lock}-{i}"))
                for lock in mine for i, edge in enumerate(edges)
            ]  # fmt: skip
            if third:
                await asyncio.sleep(0.002 * third)
                redis_server.kill()
                redis_server.start()
                await asyncio.to_thread(rebuild_redemptions, store, broker, NOW)
            await asyncio.gather(*shops)
        # Every acknowledged order gets its answer again, the other one a refusal.
        for lock in locks:
            [order] = acknowledged[lock]
            assert (await edges[0].redeem(tokens[lock], order))["order_id"] == order
            other = f"{lock}-{1 - int(order[-1])}"
            with pytest.raises(LockUsedError):
                await edges[1].redeem(tokens[lock], other)
        for each in (*reservations,):
            await each.close()
        for log in logs:
            log.close()
        store.close()

    asyncio.run(asyncio.wait_for(scenario(), 120))
    assert all(len(orders) == 1 for orders in acknowledged.values())
    assert repeated.total() > 0
