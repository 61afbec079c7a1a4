"""A broker of the user's may have inputs too narrow for the jobs: told at the start, and mended as it says.

On a broker of its own, whose topics may be broken.
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
    """A broker with every topic, and nothing beside it."""
    monkeypatch.delenv("WALRAS_HOME", raising=False)
    platform = Platform(tmp_path / "home")
    try:
        platform.up(["broker"], job_names=[], parallelism=2)
        yield platform
    finally:
        platform.down()


def test_an_input_narrower_than_its_readers_is_refused_until_it_has_partitions(broker_alone: Platform) -> None:
    clicks = TOPICS["clicks"].topic
    admin = AdminClient({"bootstrap.servers": broker_alone.env["WALRAS_KAFKA"]})
    admin.delete_topics([clicks])[clicks].result(30)
    admin.create_topics([NewTopic(clicks, num_partitions=1)])[clicks].result(30)
    # A broker says that it is done before it tells everybody.
    until("one partition", lambda: _partitions(admin, clicks) == 1)
    with pytest.raises(PlatformError, match=f"at least 2 partitions.*{clicks} 1.*Add partitions"):
        broker_alone.up(["broker"], job_names=[])
    admin.create_partitions([NewPartitions(clicks, 2)])[clicks].result(30)
    until("two partitions", lambda: _partitions(admin, clicks) == 2)
    broker_alone.up(["broker"], job_names=[])


def _partitions(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
