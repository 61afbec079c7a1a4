"""KafkaAway: the broker is gone for a time."""

from __future__ import annotations

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.servers import Servers


class KafkaAway(Disturbance):
    """The broker's process gets SIGKILL and stays away. Quotes go to the spool, and to Kafka afterwards."""

    name, what = "kafka_away", "Kafka is killed and stays away; quotes are stored on disk and sent afterwards"
    seconds, quick_seconds = 120.0, 10.0

    def begin(self, servers: Servers) -> None:
        """Kill the broker."""
        servers.kill("broker")
        servers.keep_stopped("broker")

    def end(self, servers: Servers) -> None:
        """Start the broker, and wait until the edge has sent what it stored."""
        servers.start_broker()
        servers.wait_until_sent()
