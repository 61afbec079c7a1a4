"""An edge under load while Redis and Kafka are killed: every quote is answered and reaches Kafka.

The test uses a broker and a Redis of its own, which it kills. No log of theirs has a secret or a customer's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.reports.edge_drill.disturbances.kafka_away import KafkaAway
from infra.reports.edge_drill.disturbances.redis_killed import RedisKilled
from infra.reports.edge_drill.failures import QUICK_TIMES, figures, run_failures
from infra.reports.edge_drill.market import load_market
from infra.reports.edge_drill.servers import Servers, running_servers

pytestmark = pytest.mark.platform
NOT_IN_LOGS = re.compile(r"walras_\w+?_[\w-]{30,}|PRIVATE KEY|(?:customer|session)=|\bnew-\d+-\d+")
"""Access keys, private keys, and the customers of the load."""


@pytest.fixture
def servers(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Run a broker, Redis and an edge that knows the drill's market."""
    with running_servers(tmp_path / "home") as servers:
        load_market(servers.settings)
        servers.start_edge()
        yield servers


def test_killed_redis_and_kafka_leave_no_quote_unanswered_or_unlogged(servers: Servers, tmp_path: Path) -> None:
    found = run_failures(servers, [RedisKilled(), KafkaAway()], QUICK_TIMES, tmp_path, quick=True)
    # Times depend on what else the machine does, and are judged by the program alone.
    missed = {figure.name for figure in figures(found) if not figure.ok and not figure.name.endswith("_p99")}
    assert (missed, len(found.windows)) == (set(), 2) and found.spooled > 0

    logs = {log.name: log.read_text(errors="replace") for log in servers.platform.layout.run.rglob("*.log")}
    assert {"edge.log", "broker.log"} <= set(logs)
    pseudonyms = servers.settings.pseudonym_key.get_secret_value()
    assert [name for name, text in logs.items() if NOT_IN_LOGS.search(text) or pseudonyms in text] == []
