"""A policy patch on the platform: one category changes, across a kill of all task managers, and as in a replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest

from infra.local.parts import TASK_MANAGERS
from infra.reports.chaos.disturbances import kill
from infra.reports.waiting import until
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import make_command, publish_command
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_topic, read_values
from jobs.hosting.chain import Chain
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.policy import Policy
from jobs.registry import JOBS
from jobs.runtime.settings import Settings
from schemas.causes import Cause
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command, CommandKind
from schemas.ticks import closing_ticks, due_ticks
from schemas.time_units import HOUR_MS, MINUTE_MS
from schemas.topics import INPUTS

if TYPE_CHECKING:
    from infra.local.platform import Platform

pytestmark = pytest.mark.platform
NUMPY = orjson.OPT_SERIALIZE_NUMPY
CATEGORIES, SKUS = ("shoes", "hats"), 8


class Change(NamedTuple):
    """What a decision after a patch has in common with the same decision of a replay."""

    sku: str
    at_ms: int
    policy: str
    table: str


class PatchedMarket:
    """A tenant with two categories in every bucket; the test sends its input and the ticks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        newest = max((r.kafka_ts_ms for t in INPUTS for r in read_topic(settings.kafka, t.topic)), default=0)
        self.start_ms = (max(newest, 1_790_000_000_000) // HOUR_MS + 2) * HOUR_MS
        self.tenant, self._until_ms = f"patched-{self.start_ms}", self.start_ms - MINUTE_MS
        with Publisher(settings.kafka) as out:
            for category in CATEGORIES:
                for number in range(SKUS):
                    sku = f"{category}-{number}"
                    entry = CatalogEntry(f"c-{sku}", self.start_ms, self.tenant, "web-us-usd", sku, sku, category,
                                         "margin", "USD", 1, True, 1200, 1999)  # fmt: skip
                    out.send("catalog", entry, timestamp_ms=entry.event_time_ms)

    def ticks_until(self, minute: int) -> None:
        """Close the minutes of the market up to one, which is counted from its start."""
        upto_ms, settings = self.start_ms + minute * MINUTE_MS, self.settings
        partitions = {topic.name: topic.partitions for topic in INPUTS}
        ticks = due_ticks(self._until_ms, upto_ms, buckets=settings.buckets, partitions=partitions)
        ticks += closing_ticks(upto_ms, buckets=settings.buckets, partitions=partitions)
        with Publisher(settings.kafka) as out:
            for tick in sorted(ticks):
                out.send(tick.topic, tick.record(), timestamp_ms=tick.at_ms, partition=tick.partition, key="tick")
        self._until_ms = upto_ms

    def patch(self, changes: Mapping[str, Any], *, minute: int, from_minute: int, replaces: bool = False) -> None:
        """Send a patch of the shoes."""
        command: Command = make_command(
            CommandKind.POLICY, Target(self.tenant), operator="ann", reason="spring", selection="category=shoes",
            now_ms=self.start_ms + minute * MINUTE_MS, from_ms=self.start_ms + from_minute * MINUTE_MS,
            changes=orjson.dumps(changes).decode(), replaces=replaces,
        )  # fmt: skip
        publish_command(self.settings, command)

    def accepted(self) -> int:
        """Return how many patches of the tenant were accepted."""
        records = [r for r in read_values(self.settings.kafka, "policy_changes") if r["tenant"] == self.tenant]
        assert all(r["accepted"] for r in records), records
        return len({r["command_id"] for r in records})

    def decisions(self) -> list[dict[str, Any]]:
        """Return the decisions of the tenant by id, in the order of their time; repeats are dropped."""
        found = [d for d in read_values(self.settings.kafka, "decisions") if d["tenant"] == self.tenant]
        return sorted({d["decision_id"]: d for d in found}.values(), key=lambda d: (d["event_time_ms"], d["sku"]))

    def await_changes(self, what: str, listings: int) -> list[dict[str, Any]]:
        """Wait until so many decisions follow a change of the policy, and return the tenant's decisions."""
        until(what, lambda: len(changes_of(self.tenant, self.decisions())) >= listings, 300)
        return self.decisions()


def changes_of(tenant: str, decisions: Iterable[Mapping[str, Any]]) -> list[Change]:
    return sorted(
        Change(
            d["sku"], d["event_time_ms"], d["inputs"]["policy_hash"],
            orjson.dumps(d["result"]["table"], option=orjson.OPT_SORT_KEYS).decode(),
        )
        for d in decisions
        if d["tenant"] == tenant and d["cause"] == Cause.POLICY_CHANGED
    )  # fmt: skip


def replayed(settings: Settings, tenant: str, closed_ms: int) -> list[Change]:
    """Return the changes of the tenant in a replay of the recorded inputs in one process."""
    lines = {
        topic.topic: [
            (r.partition, r.offset, r.kafka_ts_ms, r.value) for r in read_topic(settings.kafka, topic.topic)
        ]
        for topic in INPUTS
    }
    chain = Chain(Policy.load(settings.policy), settings.buckets, inputs=settings.inputs)
    decisions = (each.value for each in chain.run(lines, closed_ms) if each.stream == "decisions")
    return changes_of(tenant, (orjson.loads(orjson.dumps(d, option=NUMPY)) for d in decisions))


def test_patch_of_a_category_survives_a_kill_of_all_task_managers(
    running_jobs: Settings, local_platform: Platform
) -> None:
    market = PatchedMarket(running_jobs)
    market.ticks_until(2)
    until("a first decision of every listing", lambda: len(market.decisions()) >= len(CATEGORIES) * SKUS, 300)
    market.patch({"margin": {"min_margin": 0.45}}, minute=2, from_minute=6)
    until("the patch accepted", lambda: market.accepted() == 1)
    for part in TASK_MANAGERS:
        kill(local_platform, part)
    market.ticks_until(8)
    market.await_changes("a decision of every shoe after the patch", SKUS)
    market.patch({}, minute=8, from_minute=11, replaces=True)
    until("the rollback accepted", lambda: market.accepted() == 2)
    market.ticks_until(13)
    decisions = market.await_changes("a decision of every shoe after the rollback", 2 * SKUS)

    changes = changes_of(market.tenant, decisions)
    shoes = [f"shoes-{number}" for number in range(SKUS)]
    assert [change.sku for change in changes] == sorted(2 * shoes)
    assert {(c.at_ms - market.start_ms) // MINUTE_MS for c in changes} == {7, 12}
    first, *_ = (d["inputs"]["policy_hash"] for d in decisions if d["sku"] == "shoes-0")
    assert {d["inputs"]["policy_hash"] for d in decisions if d["sku"].startswith("hats")} == {first}
    assert {c.policy for c in changes if (c.at_ms - market.start_ms) // MINUTE_MS == 12} == {first}
    policies = PolicyTopic(running_jobs.kafka)
    assert [d["decision_id"] for d in decisions if recompute(d, policies) != d["result"]] == []
    local_platform.wait(TASK_MANAGERS, JOBS, 180)
    assert replayed(running_jobs, market.tenant, market.start_ms + 13 * MINUTE_MS) == changes
