"""RedisKilled: Redis is gone, and comes back empty."""

from __future__ import annotations

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.servers import Servers


class RedisKilled(Disturbance):
    """The Redis process gets SIGKILL and stays away. Then an empty one starts and is refilled from Kafka."""

    name, what = "redis_killed", "Redis is killed, stays away, and is refilled from Kafka"
    seconds, quick_seconds = 20.0, 4.0

    def begin(self, servers: Servers) -> None:
        """Kill Redis."""
        servers.kill("redis")
        servers.keep_stopped("redis")

    def end(self, servers: Servers) -> None:
        """Start and refill Redis."""
        servers.start_redis()
        servers.wait_until_ready()
