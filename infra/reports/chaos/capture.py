"""The outputs of a run in a form in which two runs can be compared, and the comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from features.books.products import CatalogBook, validate_cells
from jobs.audit.ledger import balance_ledger
from jobs.audit.recompute import Audit
from jobs.connectors.kafka.offsets import TopicEnds
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import read_topic, read_values
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.hosting.cell_query import Line
from jobs.hosting.chain import Chain
from jobs.pricing.policy import Policy
from jobs.replay.backfill import stream_cells
from jobs.runtime.settings import Settings
from schemas.causes import Cause
from schemas.listings import Listing
from schemas.price_table import PriceTable
from schemas.records.counts import CELL_COUNTS
from schemas.topics import INPUTS

RAW = ("window_end_ms", "raw_mean", "raw_se", "n", "active_periods")
"""Numbers of an estimate before pooling; mean and sd depend on when other buckets published theirs."""
OF_ESTIMATES = ("elasticity", "estimate")
"""Features whose names contain one of these repeat an estimate, at a time that differs between runs."""


@dataclass
class Capture:
    """Outputs of a run; ``wrong`` lists the violations that are found without a second run."""

    cells: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    estimates: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    prices: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)


def capture(settings: Settings) -> Capture:
    """Read all outputs of a run and check what needs no second run."""
    found = Capture()
    batches = [orjson.dumps(value) for value in read_values(settings.kafka, "cells")]
    try:
        found.cells = {f"{bucket}@{end}": rows for (bucket, end), rows in stream_cells(batches).items()}
        found.wrong["batches that differ"] = []
    except ValueError as error:
        found.wrong["batches that differ"] = [str(error)]
    _features(settings, found)
    for value in read_values(settings.kafka, "estimates"):
        _take_estimate(value, found)
    tables = RedisPriceTables(settings.redis.get_secret_value())
    for listing, table in sorted(tables.get_many(sorted(tables.listings())).items()):
        found.prices[listing.key] = _prices(table)
    in_redis = {key.key: t.version for key, t in tables.get_many(sorted(tables.listings())).items()}
    tables.close()
    _decisions(settings, found)
    _versions(settings, found, in_redis)
    _ledgers(settings, found, batches)
    found.counts |= {"batches": len(batches), "cells": sum(len(rows) for rows in found.cells.values()),
                     "features": len(found.features), "estimates": len(found.estimates),
                     "tables": len(found.prices)}  # fmt: skip
    return found


def computed_in_process(settings: Settings) -> Capture:
    """Return the outputs of the pure logic in one process, without Kafka and Flink, for a run's input lines."""
    lines: dict[str, list[Line]] = {
        topic.topic: [
            (r.partition, r.offset, r.kafka_ts_ms, r.value) for r in read_topic(settings.kafka, topic.topic)
        ]
        for topic in INPUTS
    }
    chain = Chain(Policy.load(settings.policy), settings.buckets, inputs=settings.inputs)
    closed_ms = max(int(value["window_end_ms"]) for value in read_values(settings.kafka, "cells"))
    found, batches = Capture(), []
    for output in chain.run(lines, closed_ms):
        value = orjson.loads(orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY))
        match output.stream:
            case "cells":
                batches.append(orjson.dumps(value))
            case "estimates":
                _take_estimate(value, found)
            case "decisions":
                _take_known(value, found)
            case "tables":
                table = PriceTable.from_record(value)
                found.prices[table.listing.key] = _prices(table)
    found.cells = {f"{bucket}@{end}": rows for (bucket, end), rows in stream_cells(batches).items()}
    return found


def _take_estimate(value: Mapping[str, Any], found: Capture) -> None:
    """Keep the last estimate; earlier ones depend on the progress of the product's other markets."""
    if value["scope"] == "listing":
        key = "/".join(str(value[k]) for k in ("tenant", "market", "sku", "name", "segment"))
        found.estimates[key] = [value[name] for name in RAW]


def _take_known(decision: Mapping[str, Any], found: Capture) -> None:
    if decision["cause"] == Cause.SETTLE:
        # Without the table shown before, which may differ between runs.
        found.known[decision["inputs"]["listing"]] = {
            name: known
            for name, known in decision["inputs"].items()
            if name not in ("current", "cause_detail", "seed")
        }


def _prices(table: PriceTable) -> dict[str, Any]:
    lists = {
        arm: {seg: [list(pl.prices), list(pl.cumulative)] for seg, pl in segs.items()}
        for arm, segs in table.table.items()
    }
    return {
        "table": lists, "default": table.default_minor, "list": table.list_minor, "offer": table.offer_minor,
    }  # fmt: skip


def _features(settings: Settings, found: Capture) -> None:
    differing = []
    for value in read_values(settings.kafka, "features"):
        key = f"{value['listing']}@{value['event_timestamp']}"
        row = {k: v for k, v in value.items() if k != "created_ms" and not any(word in k for word in OF_ESTIMATES)}
        if found.features.setdefault(key, row) != row:
            differing.append(f"{key}: {_difference(found.features[key], row)}")
    found.wrong["feature rows that differ when they come again"] = differing


def _decisions(settings: Settings, found: Capture) -> None:
    audit, outside, published = Audit(policies=PolicyTopic(settings.kafka)), [], set()
    for decision in read_values(settings.kafka, "decisions"):
        audit.check(decision)
        result = decision["result"]
        _take_known(decision, found)
        if not result["table"]:
            continue
        published.add(decision["decision_id"])
        low, high = result["hard"]
        prices = [p for lists in result["table"].values() for p in lists["p"]]
        if min(prices) < low or (high is not None and max(prices) > high):
            outside.append(f"{decision['decision_id']}: {min(prices)}..{max(prices)} outside [{low}, {high}]")
    found.counts |= {"decisions": audit.recomputed, "published": len(published)}
    found.wrong["decisions that do not recompute"] = audit.differing
    found.wrong["new prices outside the hard bands"] = outside


def _versions(settings: Settings, found: Capture, in_redis: Mapping[str, int]) -> None:
    """Check that every new table of a listing has a higher version; repeats are skipped."""
    highest: dict[str, int] = {}
    seen: set[tuple[str, int, str]] = set()
    not_higher = []
    for value in read_values(settings.kafka, "tables"):
        key, version = Listing.key_in(value), int(value["version"])
        name = (key, version, value["decision_id"])
        if name in seen:
            continue
        seen.add(name)
        if version <= highest.get(key, 0):
            not_higher.append(f"{key}: {version} ({value['reason']}) after {highest[key]}")
        highest[key] = max(version, highest.get(key, 0))
    found.wrong["versions that did not rise"] = not_higher
    found.wrong["tables in Redis that are not the newest"] = [
        f"{key}: {in_redis.get(key)} in Redis, {version} in Kafka"
        for key, version in sorted(highest.items())
        if in_redis.get(key) != version
    ]


def _ledgers(settings: Settings, found: Capture, batches: Iterable[bytes]) -> None:
    ends = TopicEnds(settings.kafka, [topic.topic for topic in INPUTS]).now()
    lines = list(read_values(settings.kafka, "ledger"))
    # Each topic closes its minutes separately, since lateness differs between topics.
    closed_ms: dict[str, int] = {}
    for line in lines:
        closed_ms[line["topic"]] = max(int(line["window_end_ms"]), closed_ms.get(line["topic"], 0))
    # Only records after the last closed minute (ticks, the settle command) may be missing in the ledger.
    still_open: Counter[tuple[str, int]] = Counter(
        (record.topic, record.partition)
        for topic in INPUTS
        for record in read_topic(settings.kafka, topic.topic)
        if record.kafka_ts_ms >= closed_ms.get(topic.topic, 0)
    )
    balances = balance_ledger(lines, ends)
    found.wrong["partitions that do not balance"] = [
        f"{b.topic}-{b.partition}: difference {b.difference}, behind {b.behind}, "
        f"{still_open[b.topic, b.partition]} still open"
        for b in balances
        if b.difference or (b.behind or 0) != still_open[b.topic, b.partition]
    ]
    refused = {
        (v["topic"], v["partition"], v["offset"]): v["code"] for v in read_values(settings.kafka, "rejected")
    }
    found.counts |= {"records": sum(b.offsets_read for b in balances), "rejected": len(refused)}
    if sum(b.rejected for b in balances) != len(refused):
        found.wrong["partitions that do not balance"].append(
            f"{sum(b.rejected for b in balances)} rejected in the ledger, {len(refused)} in the topic"
        )
    found.counts |= {f"rejected {code}": n for code, n in sorted(Counter(refused.values()).items())}
    found.wrong["cells missing from the second ledger"] = _second_ledger(settings, batches)


def _second_ledger(settings: Settings, batches: Iterable[bytes]) -> list[str]:
    """Check that rejected_cells contains exactly the cells that the catalog at their time refuses."""
    from features.bucket_logic import parse_batch

    expected: dict[tuple[Any, ...], list[int]] = {}
    books: dict[int, CatalogBook] = {}
    done: set[tuple[int, int]] = set()
    for batch in sorted((parse_batch(value) for value in batches), key=lambda b: (b.bucket, b.window_end_ms)):
        if (batch.bucket, batch.window_end_ms) in done:
            continue
        done.add((batch.bucket, batch.window_end_ms))
        book = books.setdefault(batch.bucket, CatalogBook())
        for entry in batch.catalog:
            book.observe(entry)
        for refused in validate_cells(batch.cells, book)[1]:
            c = refused.cell
            key = (c.listing.key, c.price_group, c.arm, c.segment, c.price_minor, c.currency, batch.window_end_ms)
            expected[key] = [getattr(c, name) for name in CELL_COUNTS]
    names = ("listing", "price_group", "arm", "segment", "price_minor", "currency", "window_end_ms")
    published = {
        tuple(v[name] for name in names): [v[name] for name in CELL_COUNTS]
        for v in read_values(settings.kafka, "rejected_cells")
    }
    differing = {k for k in expected.keys() | published.keys() if expected.get(k) != published.get(k)}
    return [
        f"{key}: {expected.get(key)} refused, {published.get(key)} published" for key in sorted(differing, key=str)
    ]


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = [k for k in sorted(one.keys() | other.keys()) if one.get(k) != other.get(k)]
        return ", ".join(f"{k}: {one.get(k)} / {other.get(k)}" for k in keys[:6])
    return f"{one} / {other}"


def differences(undisturbed: Mapping[str, Any], disturbed: Mapping[str, Any]) -> list[str]:
    """Return a line for each key whose values differ between two runs."""
    return [
        f"{key}: {_difference(undisturbed.get(key), disturbed.get(key))}"
        for key in sorted(undisturbed.keys() | disturbed.keys())
        if undisturbed.get(key) != disturbed.get(key)
    ]
