"""An edge under load while Redis and Kafka are killed: every quote is answered and reaches Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.reports.edge_drill.disturbances.kafka_away import KafkaAway
from infra.reports.edge_drill.disturbances.redis_killed import RedisKilled
from infra.reports.edge_drill.failures import QUICK_TIMES, figures, run_failures
from infra.reports.edge_drill.market import load_market
from infra.reports.edge_drill.servers import EDGE, Servers

if TYPE_CHECKING:
    from infra.local.platform import Platform

pytestmark = pytest.mark.platform


def test_killed_redis_and_kafka_leave_no_quote_unanswered_or_unlogged(
    local_platform: Platform, tmp_path: Path
) -> None:
    servers = Servers(local_platform)
    load_market(servers.settings)
    servers.start_edge()
    try:
        found = run_failures(servers, [RedisKilled(), KafkaAway()], QUICK_TIMES, tmp_path, quick=True)
    finally:
        local_platform.stop(EDGE)
    # Times depend on what else the machine does, and are judged by the program alone.
    missed = {figure.name for figure in figures(found) if not figure.ok and not figure.name.endswith("_p99")}
    assert (missed, len(found.windows)) == (set(), 2) and found.spooled > 0
