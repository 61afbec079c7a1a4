"""Rebuild a lost Redis from Kafka: each listing's highest version, and customers' purchases and segments.

Kafka is the system of record and Redis is derived from it, so Redis can be rebuilt at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from features.segments.customers import NO_PERIOD, CustomerSample, SegmentSettings, purchase_prior
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import Record, follow, read_newest_first, read_topic
from jobs.connectors.redis.output_sinks import write_segments
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.pricing.decision.recorded_policy import recorded_policy
from jobs.pricing.policy import Policy
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

log = logging.getLogger(__name__)


class Rebuilt(NamedTuple):
    """Result of a rebuild: listings written, records read, and records that were not price tables."""

    listings: int
    read: int
    unreadable: int


def rebuild(
    tables: RedisPriceTables,
    bootstrap: str,
    *,
    epoch: str,
    tail_s: float = 2.0,
    progress: Callable[[str], None] = log.info,
) -> Rebuilt:
    """Rebuild Redis from Kafka: each listing's highest version over `tables` and `decisions`.

    Decisions have unlimited retention, so they are read from the newest backwards, until a chunk adds no table:
    tables that a crash kept out of the `tables` topic belong to the newest decisions. If `tables` is empty, all
    decisions are read.

    Writers are refused meanwhile. A refused writer still sends its table to Kafka, so after `ready` is set the
    ends of both topics are followed until no new table arrives for ``tail_s``, at most four times that: by then
    every writer has seen `ready`.

    Parameters
    ----------
    epoch : name of the new ``ready`` epoch.
    tail_s : seconds without a new table after which the rebuild ends.
    progress : called with a line of text.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer; `ready` stays unset then.
    """
    tables.mark_unready()
    policies = PolicyTopic(bootstrap)
    best: dict[Listing, PriceTable] = {}
    read = unreadable = 0
    # The tail's readers start before the topics are read, so that no record is missed in between.
    tail = follow(bootstrap, [TOPICS["tables"].topic, TOPICS["decisions"].topic], poll_s=max(0.1, tail_s / 4))
    first = next(tail)
    for record in read_topic(bootstrap, TOPICS["tables"].topic):
        read += 1
        unreadable += not _take(best, record, policies)
    lost = not best
    for stretch in read_newest_first(bootstrap, TOPICS["decisions"].topic):
        known = best.copy()
        read += len(stretch)
        for record in stretch:
            unreadable += not _take(best, record, policies)
        # A chunk may hold no record: its offsets may be transaction markers or aborted records.
        if stretch and best == known and not lost:
            break
    tables.publish_many((best[k] for k in sorted(best)), must_be_ready=False)
    tables.mark_ready(epoch)
    progress(f"{len(best)} listings from {read} records; ready {epoch}")
    late: dict[Listing, PriceTable] = {}
    quiet_since, item = time.monotonic(), first
    end = quiet_since + 4 * tail_s
    while time.monotonic() < min(quiet_since + tail_s, end):
        if item is not None:
            read += 1
            before = len(late)
            unreadable += not _take(late, item, policies)
            if len(late) != before:
                quiet_since = time.monotonic()
        item = next(tail)
    tail.close()  # type: ignore[attr-defined]
    tables.publish_many(late[k] for k in sorted(late))
    return Rebuilt(len(best.keys() | late.keys()), read, unreadable)


class RebuiltSegments(NamedTuple):
    """Result of a rebuild of segments: records written, and unreadable records."""

    records: int
    unreadable: int


def rebuild_segments(
    tables: RedisPriceTables, bootstrap: str, settings: SegmentSettings | None = None, *, chunk: int = 1_000
) -> RebuiltSegments:
    """Rebuild customers' purchases and segments from the `segments` topic.

    The topic is read twice: the prior follows from a sample of all customers, and every segment from the prior.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    """
    settings = settings or SegmentSettings()
    samples: dict[str, CustomerSample] = {}
    unreadable = 0
    for update in _segment_updates(bootstrap):
        if update is None:
            unreadable += 1
            continue
        sample = samples.setdefault(update["tenant"], CustomerSample(settings.sample))
        sample.observe(update["customer"], update["period"], update["purchases"], update["above_offer"])
    priors = {tenant: purchase_prior(sample, settings) for tenant, sample in samples.items()}
    waiting: dict[str, list[dict[str, Any]]] = {}
    written = 0
    for update in _segment_updates(bootstrap):
        if update is None or update["tenant"] not in priors:
            continue
        of_tenant = waiting.setdefault(update["tenant"], [])
        of_tenant.append(update | {"prior": priors[update["tenant"]]})
        if len(of_tenant) >= chunk:
            written += write_segments(tables, update["tenant"], waiting.pop(update["tenant"]), settings)
    for tenant, updates in sorted(waiting.items()):
        written += write_segments(tables, tenant, updates, settings)
    return RebuiltSegments(written, unreadable)


def _segment_updates(bootstrap: str) -> Iterator[dict[str, Any] | None]:
    """Yield every record of `segments` with its period; None for an unreadable one."""
    for record in read_topic(bootstrap, TOPICS["segments"].topic):
        if not record.value:
            continue
        try:
            value = record.json()
            customer = f"{value['tenant']}:{value['customer']}"
            key = record.key or ""
            period = NO_PERIOD if key == customer else int(key.removeprefix(f"{customer}:"))
            counts = {name: int(value[name]) for name in ("purchases", "above_offer")}
        except (KeyError, TypeError, ValueError) as error:
            log.warning("rebuild: %s-%d-%d: %r", record.topic, record.partition, record.offset, error)
            yield None
            continue
        yield {"tenant": value["tenant"], "customer": value["customer"], "period": period, **counts}


def _take(best: dict[Listing, PriceTable], record: Record, policies: Mapping[str, Policy]) -> bool:
    """Keep a record's table if it has the listing's highest version; return False if the record is unreadable."""
    if not record.value:
        return True
    try:
        value, decided = record.json(), record.topic == TOPICS["decisions"].topic
        table = table_of_decision(value, policies) if decided else PriceTable.from_record(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.warning("rebuild: %s-%d-%d: %r", record.topic, record.partition, record.offset, error)
        return False
    # A held or unchanged decision wrote no table.
    if table is not None and (table.listing not in best or table.version > best[table.listing].version):
        best[table.listing] = table
    return True


def table_of_decision(decision: Mapping[str, Any], policies: Mapping[str, Policy]) -> PriceTable | None:
    """Return the price table that a decision published, from its record and policy; None if it published none.

    Decisions and tables are two topics, and a crash may fall between the two writes.

    Raises
    ------
    KeyError, TypeError, PriceTableError
        If a published decision lacks a field that a table needs, or its policy is not given.
    """
    result, inputs = decision["result"], decision["inputs"]
    if not decision["published"] or not result.get("table"):
        return None
    lists = {segment: PriceList(tuple(v["p"]), tuple(v["c"])) for segment, v in result["table"].items()}
    rivals = result["rivals_mean_minor"] if result["rivals_fresh"] else None
    published_ms = int(decision["decided_at_ms"])
    tables = (recorded_policy(inputs["policy"]) if "policy" in inputs else policies[inputs["policy_hash"]]).tables
    by_operator = bool(tables.session_minutes) and inputs.get("approved_minor") is not None
    hard_low_minor, hard_high_minor = (tables.session_minutes and result.get("hard")) or (None, None)
    return PriceTable(
        listing=Listing(decision["tenant"], decision["market"], decision["sku"]),
        price_group=decision["price_group"],
        version=int(decision["version"]),
        table_id=decision["table_id"],
        published_ms=published_ms,
        expires_ms=published_ms + tables.life_minutes * MINUTE_MS,
        currency=inputs["currency"],
        table={tables.arm: lists},
        list_minor=int(inputs["catalog"]["list_minor"] or 0),
        offer_minor=None if rivals is None else round(rivals),
        reason=result["reason"],
        decision_id=decision["decision_id"],
        session_minutes=tables.session_minutes,
        session_from_version=int(decision["version"]) if by_operator else 0,
        hard_low_minor=hard_low_minor,
        hard_high_minor=hard_high_minor,
        unconfirmed_minutes=tables.unconfirmed_minutes,
    )
