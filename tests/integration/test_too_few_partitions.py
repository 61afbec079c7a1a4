"""An input topic with too few partitions is refused at the start.

The test uses a broker of its own, whose topics it deletes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from infra.local.errors import PlatformError
from infra.local.platform import Platform
from infra.reports.waiting import until
from schemas.topics import TOPICS

pytestmark = pytest.mark.platform


@pytest.fixture
def broker_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """Run a broker with every topic and no other part."""
    monkeypatch.delenv("WALRAS_HOME", raising=False)
    platform = Platform(tmp_path / "home")
    try:
        platform.up(["broker"], job_names=[], parallelism=2)
        yield platform
    finally:
        platform.down()


def test_input_with_fewer_partitions_than_subtasks_is_refused(broker_alone: Platform) -> None:
    clicks = TOPICS["clicks"].topic
    admin = AdminClient({"bootstrap.servers": broker_alone.env["WALRAS_KAFKA"]})
    admin.delete_topics([clicks])[clicks].result(30)
    admin.create_topics([NewTopic(clicks, num_partitions=1)])[clicks].result(30)
    # The broker confirms the creation before its metadata are updated.
    until("one partition", lambda: _partitions(admin, clicks) == 1)
    with pytest.raises(PlatformError, match=f"at least 2 partitions.*{clicks} 1.*Add partitions"):
        broker_alone.up(["broker"], job_names=[])
    admin.create_partitions([NewPartitions(clicks, 2)])[clicks].result(30)
    until("two partitions", lambda: _partitions(admin, clicks) == 2)
    broker_alone.up(["broker"], job_names=[])


def _partitions(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
