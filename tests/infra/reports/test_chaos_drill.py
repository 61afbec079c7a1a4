"""The chaos drill: plan, recording and comparison, and its quick form on a platform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.reports.chaos.capture import Capture, differences
from infra.reports.chaos.disturbances import plan
from infra.reports.chaos.drill import compare, drill
from infra.reports.chaos.markdown import markdown
from infra.reports.chaos.playback import BUCKETS, QUICK
from infra.reports.chaos.recording import record
from jobs.simulation.incidents import DIRTY
from schemas.topics import TOPICS

START_MS = 1_790_000_040_000


def test_recording_and_plan_depend_on_the_seed_only() -> None:
    first, again = (
        record(seed=3, start_ms=START_MS, minutes=4, skus=2, events_per_minute=300, buckets=BUCKETS)
        for _ in range(2)
    )
    assert first == again
    assert {"quotes", "clicks", "orders", "offers", "stock", "catalog", "ticks"} <= {sent.topic for sent in first}
    assert plan(3, 10, 100.0) == plan(3, 10, 100.0) != plan(4, 10, 100.0)


def test_recording_contains_invalid_records_of_many_kinds() -> None:
    sent = record(seed=3, start_ms=START_MS, minutes=6, skus=2, events_per_minute=600, buckets=BUCKETS, dirty=0.2)
    refused = 0
    for each in sent:
        try:
            refused += TOPICS[each.topic].validate(json.loads(each.value)) is not None
        except (ValueError, AttributeError, TypeError):
            refused += 1
    assert refused > 100 and len(DIRTY) >= 20


def test_every_difference_is_a_violation() -> None:
    undisturbed = Capture(cells={"0@60000": [1]}, wrong={"versions that did not rise": []})
    disturbed = Capture(cells={"0@60000": [2]}, wrong={"versions that did not rise": ["x: 1 after 2"]})
    log = {"stale_tables_taken": [], "edge_failures": ["y: status 503"], "edge_versions_fallen": []}
    violations = compare(undisturbed, disturbed, log)
    assert {name for name, wrong in violations.items() if wrong} == {
        "cells differ", "disturbed: versions that did not rise", "the edge did not answer",
    }  # fmt: skip
    assert differences({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}) == ["a: y: 2 / 3"]


@pytest.mark.platform
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("clean_environment")
def test_disturbed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    report = drill(tmp_path / "home", seed=7, kills=2, size=QUICK)
    assert report["equal"], markdown([report])
