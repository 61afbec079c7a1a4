"""What lets a run go on where it stood: its clock, and Redis brought back from Kafka.

``up`` and the keeper do both: a part that was lost under a running platform is as good as a new start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import redis
from confluent_kafka import KafkaException
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from infra.local.config import Layout
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.rebuild import rebuild, rebuild_segments
from jobs.runtime.clock import Clock
from jobs.runtime.settings import DATA_CLOCK

STOPPED_AT = "stopped_at_ms"


def read_stopped_at(layout: Layout) -> int | None:
    """What the clock of the run before showed at its end; None if there was none."""
    path = layout.run / STOPPED_AT
    return int(path.read_text()) if path.exists() else None


def record_clock(layout: Layout, env: Mapping[str, str]) -> None:
    """Note what the run's Clock shows, so that the next run goes on from there."""
    if env["WALRAS_CLOCK"] == DATA_CLOCK:
        return
    now = Clock.parse(env["WALRAS_CLOCK"]).now_ms()
    path = layout.run / STOPPED_AT
    part = path.with_suffix(".part")
    part.write_text(str(now))
    part.rename(path)


@retry(
    retry=retry_if_exception_type((KafkaException, redis.RedisError)),
    stop=stop_after_attempt(20),
    wait=wait_fixed(0.5),
    reraise=True,
)
def fill_redis(env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Admit writers to Redis, after bringing it back from Kafka if it is not ready.

    Tried again for 10 s, since a topic that was just made has no leader for a moment.
    """
    tables = RedisPriceTables(env["WALRAS_REDIS"])
    try:
        if tables.ready() is not None:
            return
        # Before `rebuild`, which marks Redis ready: if this fails, all of it is tried again.
        rebuild_segments(tables, env["WALRAS_KAFKA"])
        rebuilt = rebuild(
            tables,
            env["WALRAS_KAFKA"],
            epoch=str(round(time.time() * 1000)),
            tail_s=1.0,
            progress=lambda _: None,
        )
        say(
            f"redis       {rebuilt.listings} price tables brought back from Kafka"
            if rebuilt.listings
            else "redis       empty, ready"
        )
    finally:
        tables.close()
