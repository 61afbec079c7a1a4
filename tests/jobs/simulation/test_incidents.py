"""Broken records: every kind is refused with its code."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from features.cells.lines import read_line
from jobs.simulation.config import MarketConfig
from jobs.simulation.incidents import DIRTY, Incident
from jobs.simulation.market import Market
from jobs.simulation.prices import ListPrices
from schemas.codes import RejectCode
from schemas.topics import TOPICS

AT_MS = 1_767_600_000_000


def judge_line(topic: str, line: bytes, kafka_ts_ms: int = AT_MS) -> tuple[str, str] | None:
    """Return the verdict on a line in Python: decoding first, then the contract."""
    code, record = read_line(line)
    if code is not None:
        return "", code
    return TOPICS[topic].validate(record, kafka_ts_ms)


def a_good_record(topic: str) -> dict[str, Any]:
    market = Market(MarketConfig(skus=3, shocks=(), rival_moves=(), cost_changes=()), seed=1)
    return market.good_record(topic, 0, AT_MS, "x1")


@pytest.mark.parametrize("incident", DIRTY, ids=lambda incident: incident.name)
def test_broken_record_is_refused_with_its_code(incident: Incident) -> None:
    *first, broken = incident.lines(a_good_record(incident.topic))
    assert all(judge_line(incident.topic, line) is None for line in first)
    verdict = judge_line(incident.topic, broken)
    if incident.by == "cell" or incident.repeats:
        # Detected by the catalog, or by the earlier order, alone.
        assert verdict is None
    else:
        assert verdict == (incident.field, incident.code.value)


@pytest.mark.parametrize("topic", sorted({incident.topic for incident in DIRTY}))
def test_records_are_valid_before_they_are_corrupted(topic: str) -> None:
    assert TOPICS[topic].validate(a_good_record(topic), AT_MS) is None


def test_there_are_at_least_twenty_kinds_with_unique_names() -> None:
    assert len(DIRTY) >= 20
    assert len({incident.name for incident in DIRTY}) == len(DIRTY)


def test_every_refusal_code_has_an_incident() -> None:
    not_by_line: set[RejectCode] = set()
    assert {incident.code for incident in DIRTY} == set(RejectCode) - not_by_line


def test_duplicate_order_differs_in_its_event_id_alone() -> None:
    incident = next(i for i in DIRTY if i.repeats)
    first, again = map(orjson.loads, incident.lines(a_good_record("orders")))
    assert first["event_id"] != again["event_id"]
    assert {k: v for k, v in first.items() if k != "event_id"} == {
        k: v for k, v in again.items() if k != "event_id"
    }


def test_stream_without_a_valid_record_is_refused() -> None:
    with pytest.raises(ValueError, match="expected quotes, clicks"):
        a_good_record("calendar")


def test_market_has_the_configured_share_of_broken_records_of_every_kind() -> None:
    config = MarketConfig(
        skus=5,
        events_per_minute=1000.0,
        dirty_share=0.1,
        shocks=(),
        rival_moves=(),
        cost_changes=(),
        late_share=0.0,
    )
    market = Market(config, seed=3, start_ms=AT_MS)
    market.opening(AT_MS)
    events = market.step(AT_MS, AT_MS + 600_000, ListPrices(market.list_minor)).records
    refused = [v for at, _, topic, _, line in events if (v := judge_line(topic, line, at)) is not None]
    by_line = [i for i in DIRTY if i.by == "line" and not i.repeats]
    assert 0.85 < len(refused) / (1000 * len(by_line) / len(DIRTY)) < 1.15
    assert {code for _, code in refused} == {i.code.value for i in by_line}
