"""PoisonedTable: records that are no price tables, in Redis and on the topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial

import redis

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.market import listing, price_table
from infra.reports.edge_drill.servers import Servers
from jobs.connectors.kafka.publisher import Publisher
from schemas.price_table import FULL
from schemas.redis_keys import price_key, updates_channel
from schemas.topics import TOPICS

Fields = dict[str, str]


def _with_table(table: str, fields: Fields) -> Fields:
    return fields | {"table": table}


def _lists(prices: str) -> str:
    return f'{{"base":{{"all":{{"p":[{prices}],"c":[{FULL}]}}}}}}'


TABLES = {
    "no end": '{"base":', "a list in place of the arms": "[]", "no arm": "{}",
    "an arm without segments": '{"base":{}}', "a segment without prices": _lists(""),
    "a price that is a fraction": _lists("9.5"), "a price that is a text": _lists('"9"'),
    "a negative price": _lists("-9"), "lists within lists": "[" * 100_000,
}  # fmt: skip
"""Invalid values of the field ``table``, by kind."""
FIELDS: dict[str, Callable[[Fields], Fields]] = {
    **{kind: partial(_with_table, table) for kind, table in TABLES.items()},
    "an unknown currency": lambda fields: fields | {"currency": "???"},
    "a version that is no number": lambda fields: fields | {"version": "newest"},
    "no expiry": lambda fields: {name: value for name, value in fields.items() if name != "expires_ms"},
}
"""Kinds of invalid tables: what a kind does to the fields of a valid one of a higher version."""
LINES = (b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000)
"""Lines of the topic that are no records at all."""
ANOTHER_TYPE, NO_TEXT = len(FIELDS), len(FIELDS) + 1
"""Numbers of the listing whose key in Redis is no hash, and of the one whose fields are bytes that are no text."""
POISONED = len(FIELDS) + 2


class PoisonedTable(Disturbance):
    """Tables of a higher version with invalid content, in Redis with their hint and on the topic.

    The listings keep their last valid table. Redis gets valid tables again at the end; the topic keeps the lines.
    """

    name, what = (
        "poisoned_table",
        "invalid tables of many kinds in Redis and on the topic",
    )
    seconds, quick_seconds = 20.0, 4.0

    def begin(self, servers: Servers) -> None:
        """Write the invalid tables."""
        now_ms = round(time.time() * 1000)
        with Publisher(servers.settings.kafka) as out, redis.Redis.from_url(servers.redis_url) as client:
            for number, poison in enumerate(FIELDS.values()):
                one, fields = listing(number), poison(price_table(number, now_ms).to_redis())
                client.delete(price_key(one))
                client.hset(price_key(one), mapping=fields)  # type: ignore[arg-type]
                client.publish(updates_channel(one.tenant, one.market), f"{one.sku} {now_ms}")
                record = {"tenant": one.tenant, "market": one.market, "sku": one.sku, **fields}
                out.send("tables", record, timestamp_ms=now_ms, key=one.key)
            client.set(price_key(listing(ANOTHER_TYPE)), "no hash")
            client.hset(price_key(listing(NO_TEXT)), mapping={"version": now_ms, "table": b"\xff\xfe"})
            for number in (ANOTHER_TYPE, NO_TEXT):
                one = listing(number)
                client.publish(updates_channel(one.tenant, one.market), f"{one.sku} {now_ms}")
            for number, line in enumerate(LINES):
                out.send_bytes(TOPICS["tables"].topic, line, timestamp_ms=now_ms, key=f"line-{number}")

    def end(self, servers: Servers) -> None:
        """Publish valid tables again."""
        now_ms = round(time.time() * 1000)
        repaired = [price_table(number, now_ms) for number in range(POISONED)]
        with redis.Redis.from_url(servers.redis_url) as client:
            for table in repaired:
                client.delete(price_key(table.listing))
        servers.publish(repaired)
        servers.wait_until_ready()

    def affected(self) -> Collection[str]:
        """Return the listings with an invalid table."""
        return {listing(number).key for number in range(POISONED)}
