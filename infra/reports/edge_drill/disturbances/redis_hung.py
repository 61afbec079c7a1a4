"""RedisHung: Redis accepts connections and does not answer."""

from __future__ import annotations

import signal

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.servers import Servers


class RedisHung(Disturbance):
    """The Redis process is stopped by SIGSTOP and continued later, with its data."""

    name, what = "redis_hung", "Redis hangs: it accepts connections and does not answer"
    seconds, quick_seconds = 20.0, 4.0

    def begin(self, servers: Servers) -> None:
        """Stop the process."""
        servers.kill("redis", signal.SIGSTOP)

    def end(self, servers: Servers) -> None:
        """Continue it."""
        servers.kill("redis", signal.SIGCONT)
        servers.wait_until_ready()
