"""Input records outside the jobs: what demand_job refuses is skipped, and a wrong optional field is left out."""

from __future__ import annotations

import orjson

from jobs.connectors.kafka.reading import Record, accepted_value
from schemas.topics import TOPICS


def test_catalog_entry_is_accepted_without_a_field_of_another_type() -> None:
    topic = TOPICS["catalog"]
    entry = {
        "event_id": "e", "event_time_ms": 1_790_000_000_000, "tenant": "acme", "market": "web", "sku": "s1",
        "price_group": "s1", "category": "shoes", "role": "kvi", "currency": "USD", "pack_size": 1, "active": True,
    }  # fmt: skip
    line = orjson.dumps(entry | {"list_minor": "cheap"})
    assert accepted_value(Record(topic.topic, 0, 0, 0, None, line), topic) == entry
    assert accepted_value(Record(topic.topic, 0, 0, 0, None, orjson.dumps(entry | {"currency": 7})), topic) is None
