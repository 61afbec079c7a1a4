"""How far back a rebuild reads decisions, with stubbed topics and a real Redis.

With a real broker: tests/integration/test_edge_on_platform.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch
from jobs.connectors.kafka.reading import Record
from jobs.connectors.redis import rebuild as redis_rebuild
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from schemas.events import CatalogEntry
from schemas.topics import TOPICS
from tests.jobs.pricing.pricing_builders import catalog_of

MINUTE = 1_790_000_040_000


def priced(count: int) -> tuple[list[Record], list[Record]]:
    """Return the decisions of so many listings and their tables, as records in the order of creation."""
    entries = tuple(
        CatalogEntry(f"e{i}", MINUTE - 1, "acme", "web-us-usd", f"s{i}", f"s{i}", "shoes", "margin", "USD", 1,
                     True, 1200 + i, 1999)
        for i in range(count)
    )  # fmt: skip
    made: dict[str, list[Record]] = {"decisions": [], "tables": []}
    for out in RepricingLogic().on_batch(Batch(0, MINUTE, catalog=entries, now_ms=MINUTE)):
        if out.stream in made:
            value = orjson.dumps(out.value, option=orjson.OPT_SERIALIZE_NUMPY)
            at = len(made[out.stream])
            made[out.stream].append(Record(TOPICS[out.stream].topic, 0, at, MINUTE, out.key, value))
    return made["decisions"], made["tables"]


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets what the two topics hold; it returns a list of the chunks of decisions read."""

    def hold(tables: list[Record], stretches: list[list[Record]]) -> list[int]:
        chunks_read: list[int] = []

        def newest_first(bootstrap: str, topic: str) -> Iterator[list[Record]]:
            for i, stretch in enumerate(stretches):
                chunks_read.append(i)
                yield stretch

        monkeypatch.setattr(redis_rebuild, "PolicyTopic", lambda bootstrap: catalog_of())
        monkeypatch.setattr(redis_rebuild, "read_topic", lambda bootstrap, topic: iter(tables))
        monkeypatch.setattr(redis_rebuild, "read_newest_first", newest_first)
        monkeypatch.setattr(redis_rebuild, "follow", lambda *_, **__: (nothing for nothing in repeat(None)))
        return chunks_read

    return hold


def rebuilt(redis_server: Any) -> redis_rebuild.Rebuilt:
    tables = RedisPriceTables(redis_server.url)
    done = redis_rebuild.rebuild(tables, "nowhere", epoch="again", tail_s=0.02, progress=lambda _: None)
    assert tables.ready() == "again"
    assert len(list(tables.listings())) == done.listings
    return done


def test_rebuild_reads_decisions_until_a_chunk_adds_no_table(redis_server: Any, kafka: Any) -> None:
    decisions, tables = priced(6)
    one_each = [[decision] for decision in reversed(decisions)]
    # The last three tables are missing. A chunk without records (transaction markers alone) ends nothing.
    chunks_read = kafka(tables[:3], [*one_each[:2], [], *one_each[2:]])
    assert rebuilt(redis_server).listings == 6
    assert chunks_read == [0, 1, 2, 3, 4]


def test_rebuild_reads_every_decision_without_tables(redis_server: Any, kafka: Any) -> None:
    decisions, _ = priced(4)
    chunks_read = kafka([], [[decisions[3]], [decisions[3]], decisions[:3]])
    assert rebuilt(redis_server).listings == 4
    assert chunks_read == [0, 1, 2]


def a_purchase_record(offset: int, customer: str, period: int | None, purchases: int, above: int) -> Record:
    value = {
        "tenant": "acme", "customer": customer, "purchases": purchases, "above_offer": above,
        "event_time_ms": MINUTE,
    }  # fmt: skip
    key = f"acme:{customer}" + ("" if period is None else f":{period}")
    return Record(TOPICS["segments"].topic, 0, offset, MINUTE, key, orjson.dumps(value))


def test_rebuild_restores_segments_and_purchases_of_every_period(redis_server: Any, kafka: Any) -> None:
    records = [
        a_purchase_record(0, "c1", None, 5, 3),  # without a period: all purchases so far
        a_purchase_record(1, "c1", 20_700, 1, 0),
        a_purchase_record(2, "c2", 20_670, 4, 0),
        a_purchase_record(3, "c1", 20_700, 2, 0),
        Record(TOPICS["segments"].topic, 0, 4, MINUTE, "acme:c9:x", b'{"tenant": "acme", "customer": "c9"}'),
        Record(TOPICS["segments"].topic, 0, 5, MINUTE, "acme:gone:20700", None),
    ]
    kafka(records, [])
    tables = RedisPriceTables(redis_server.url)
    done = redis_rebuild.rebuild_segments(tables, "nowhere", chunk=1)
    assert done == redis_rebuild.RebuiltSegments(4, 1)
    assert redis_server.client.hgetall("purchases:{acme:c1}:c1") == {"-1": "5:3", "20700": "2:0"}
    assert (tables.segment("acme", "c1"), tables.segment("acme", "c2")) == ("myopic", "strategic")
