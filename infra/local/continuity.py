"""Resume a run: restore its clock, and refill Redis from Kafka.

``up`` and the part ``keeper`` do both, since a part that failed under a running platform is handled like a new
start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import redis
from confluent_kafka import KafkaException
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from infra.local.config import Layout
from jobs.connectors.kafka.redemption_log import EpochReplacedError
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.rebuild import rebuild, rebuild_segments
from jobs.connectors.redis.redemption_rebuild import rebuild_redemptions
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.runtime.clock import Clock
from jobs.runtime.settings import DATA_CLOCK

STOPPED_AT = "stopped_at_ms"


def read_stopped_at(layout: Layout) -> int | None:
    """Return the time of the previous run's clock when it stopped, in ms; None if there was no run."""
    path = layout.run / STOPPED_AT
    return int(path.read_text()) if path.exists() else None


def record_clock(layout: Layout, env: Mapping[str, str]) -> None:
    """Write the present time of the run's clock to a file, from which the next run starts."""
    if env["WALRAS_CLOCK"] == DATA_CLOCK:
        return
    now = Clock.parse(env["WALRAS_CLOCK"]).now_ms()
    path = layout.run / STOPPED_AT
    temporary = path.with_suffix(".part")
    temporary.write_text(str(now))
    temporary.rename(path)


@retry(
    retry=retry_if_exception_type((KafkaException, redis.RedisError, EpochReplacedError)),
    stop=stop_after_attempt(20),
    wait=wait_fixed(0.5),
    reraise=True,
)
def fill_redis(env: Mapping[str, str], progress: Callable[[str], None]) -> None:
    """Rebuild redemptions, segments and price tables in Redis from Kafka, unless each is marked ready.

    It is retried for 10 s, since a new topic has no leader at first.
    """
    tables, redemptions = RedisPriceTables(env["WALRAS_REDIS"]), RedemptionStore(env["WALRAS_REDIS"])
    try:
        if redemptions.ready() is None:
            clock = env["WALRAS_CLOCK"]
            now_ms = (Clock() if clock == DATA_CLOCK else Clock.parse(clock)).now_ms()
            done = rebuild_redemptions(redemptions, env["WALRAS_KAFKA"], now_ms)
            if done.used:
                progress(f"redis       {done.used} redemptions rebuilt from Kafka")
        if tables.ready() is not None:
            return
        # Segments first, since `rebuild` marks Redis ready: after a failure everything is retried.
        rebuild_segments(tables, env["WALRAS_KAFKA"])
        rebuilt = rebuild(
            tables,
            env["WALRAS_KAFKA"],
            epoch=str(round(time.time() * 1000)),
            tail_s=1.0,
            progress=lambda _: None,
        )
        progress(
            f"redis       {rebuilt.listings} price tables rebuilt from Kafka"
            if rebuilt.listings
            else "redis       empty, ready"
        )
    finally:
        tables.close()
        redemptions.close()
