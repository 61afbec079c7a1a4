"""RedisEmptied: Redis answers and has lost its data."""

from __future__ import annotations

import redis

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.servers import Servers


class RedisEmptied(Disturbance):
    """FLUSHALL removes every key, the ``ready`` epoch included. Then Redis is refilled from Kafka."""

    name, what = "redis_emptied", "Redis is emptied (FLUSHALL) and refilled from Kafka"
    seconds, quick_seconds = 10.0, 4.0

    def begin(self, servers: Servers) -> None:
        """Remove every key."""
        with redis.Redis.from_url(servers.redis_url) as client:
            client.flushall()

    def end(self, servers: Servers) -> None:
        """Refill Redis."""
        servers.refill_redis()
        servers.wait_until_ready()
