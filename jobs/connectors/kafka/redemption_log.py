"""The topic ``redemptions``: records acknowledged by all replicas, divided into epochs by rebuilds of Redis."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from jobs.connectors.kafka.offsets import SILENT
from jobs.locks.redemption import UnreachableError
from schemas.records.operator_events import Redemption, RedemptionKind
from schemas.topics import TOPICS

POLL_S = 0.2
"""Longest wait of the polling thread; a delivery report ends the wait at once."""
TRANSACTIONAL_ID = "walras-redemption-epochs"
"""One for all rebuilds, so that Kafka fences the writes of a rebuild that another one has replaced."""
COMMIT_ATTEMPTS = 10


class KafkaRedemptionLog:
    """Appends redemptions; connects at the first one.

    Parameters
    ----------
    bootstrap : Kafka bootstrap servers.
    timeout_s : seconds after which a record that the broker has not acknowledged is given up. It may still arrive.
    config : further settings of librdkafka, which override the defaults here.
    """

    def __init__(self, bootstrap: str, timeout_s: float = 5.0, **config: Any) -> None:
        self._config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.timeout.ms": round(timeout_s * 1000),
            "logger": SILENT,
        } | config
        self._timeout_s = timeout_s
        self._producer: Producer | None = None
        self._closed = threading.Event()

    async def append(self, redemption: Redemption) -> None:
        """Write a record and return when every in-sync replica has it.

        Raises
        ------
        UnreachableError
            If the broker refuses the record or does not acknowledge it in time.
        """
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[str] = loop.create_future()

        def settle(problem: str) -> None:
            if not delivered.done():
                delivered.set_result(problem)

        def on_delivery(error: KafkaError | None, message: object) -> None:
            # The loop may have ended while the record was on its way.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, error.str() if error is not None else "")

        try:
            self._started().produce(
                TOPICS["redemptions"].topic, record_bytes(redemption), key=redemption.lock_id,
                on_delivery=on_delivery,
            )  # fmt: skip
            async with asyncio.timeout(self._timeout_s + 1.0):
                problem = await delivered
        except (BufferError, KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and error.args[0].code() == KafkaError._FATAL:
                # librdkafka refuses every further record of this producer; the next one gets a new producer.
                self._producer = None
            raise UnreachableError(f"Kafka does not answer: {type(error).__name__}") from error
        if problem:
            raise UnreachableError(f"Kafka has not acknowledged the redemption: {problem}")

    def close(self) -> None:
        """End the polling thread; records on their way are given up."""
        self._closed.set()

    def _started(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(self._config)
            threading.Thread(target=self._poll, args=(self._producer,), name="redemption-log", daemon=True).start()
        return self._producer

    def _poll(self, producer: Producer) -> None:
        while self._producer is producer and not self._closed.is_set():
            producer.poll(POLL_S)


class EpochReplacedError(RuntimeError):
    """Another rebuild of the redemptions has started since."""


def start_epoch(bootstrap: str, epoch: str, is_current: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Write the start of an epoch to every partition of the topic, in one transaction.

    Parameters
    ----------
    is_current : whether the caller's rebuild is still the present one; called after older rebuilds are fenced.

    Raises
    ------
    EpochReplacedError
        If another rebuild has started since.
    KafkaException
        If the broker does not answer.
    """
    producer = Producer({
        "bootstrap.servers": bootstrap, "transactional.id": TRANSACTIONAL_ID, "transaction.timeout.ms": 10_000,
        "logger": SILENT,
    })  # fmt: skip
    topic = TOPICS["redemptions"].topic
    value = record_bytes(Redemption(RedemptionKind.EPOCH, epoch))
    try:
        producer.init_transactions(timeout_s)
        if not is_current():
            raise EpochReplacedError("expected the present rebuild of the redemptions, got one that was replaced")
        found = producer.list_topics(topic, timeout=timeout_s).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        producer.begin_transaction()
        for partition in sorted(found.partitions):
            producer.produce(topic, value, partition=partition)
        _commit(producer, timeout_s)
    except KafkaException as error:
        if error.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
            raise EpochReplacedError("another rebuild of the redemptions has started since") from error
        raise


def _commit(producer: Producer, timeout_s: float) -> None:
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        try:
            return producer.commit_transaction(timeout_s)
        except KafkaException as error:
            if not error.args[0].retriable() or attempt == COMMIT_ATTEMPTS:
                raise


def record_bytes(redemption: Redemption) -> bytes:
    """Return a record's value; the fields that the start of an epoch does not have are left out.

    >>> record_bytes(Redemption("epoch", "e1"))
    b'{"kind":"epoch","epoch":"e1"}'
    """
    value = dataclasses.asdict(redemption)
    return orjson.dumps(value if redemption.lock_id else {name: value[name] for name in ("kind", "epoch")})
