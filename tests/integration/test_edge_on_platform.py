"""Edge, walras and the live view on a broker and Redis, without jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import redis
from typer.testing import CliRunner

from features.bucket_logic import Batch, Output
from jobs import cli
from jobs.access.key_files import ADMIN, read_key
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_newest_first, read_topic
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.console import live_view
from jobs.edge.service import build
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.price_table import PriceTable
from schemas.redis_keys import price_key
from schemas.topics import TOPICS

pytestmark = pytest.mark.platform
TENANT = "edge-test"


@pytest.fixture
def market(platform: Settings) -> tuple[Settings, dict[Listing, PriceTable]]:
    """Price ten listings with the repricing logic, with records in Kafka and tables in Redis."""
    now_ms = platform.run_clock.now_ms()
    minute = now_ms - now_ms % 60_000
    entries = tuple(
        CatalogEntry(f"e{i}", minute - 1, TENANT, "web-us-usd", f"s{i}", f"s{i}", "shoes", "margin", "USD", 1,
                     True, 1200 + i, 1999)
        for i in range(10)
    )  # fmt: skip
    outputs = list(RepricingLogic().on_batch(Batch(0, minute, catalog=entries, now_ms=now_ms)))
    publish(platform, outputs)
    tables = [PriceTable.from_record(output.value) for output in outputs if output.stream == "tables"]
    RedisPriceTables(platform.redis.get_secret_value()).publish_many(tables, must_be_ready=False)
    return platform, {table.listing: table for table in tables}


def publish(settings: Settings, outputs: list[Output]) -> None:
    """Publish decisions and policies, and all tables but the last, as after a failure between the two writes."""
    last = max(output.key for output in outputs if output.stream == "tables")
    with Publisher(settings.kafka) as publisher:
        for output in outputs:
            if output.stream in ("decisions", "policies") or (output.stream == "tables" and output.key != last):
                publisher.send(output.stream, output.value, timestamp_ms=output.event_time_ms, key=output.key)


def walras(*words: str) -> Any:
    return CliRunner().invoke(cli.commands, list(words))


def logged(settings: Settings, customers: set[str]) -> list[Mapping[str, Any]]:
    return [quote for quote in mine(settings, "quotes") if quote.get("customer") in customers]


def mine(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Return this module's records of an input; other tests send invalid lines."""
    lines = read_topic(settings.kafka, TOPICS[name].topic)
    return [line.json() for line in lines if f'"{TENANT}"'.encode() in (line.value or b"")]


def test_every_quote_is_in_kafka_after_the_shutdown_of_the_edge(
    market: tuple[Settings, dict[Listing, PriceTable]],
) -> None:
    settings, tables = market

    async def scenario() -> list[dict[str, Any]]:
        app = build(settings)
        requests: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        lifespan = asyncio.create_task(app({"type": "lifespan"}, requests.get, events.put))
        requests.put_nowait({"type": "lifespan.startup"})
        await events.get()
        key = read_key(settings.keys_folder / f"{ADMIN}.json").text
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://edge",
            headers={"authorization": f"Bearer {key}"},
        ) as http:
            # Wait as a load balancer does: on a loaded machine the first read from Redis may time out.
            async with asyncio.timeout(60):
                while (await http.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.1)
            replies = [
                (await http.get(f"/v1/quotes/{listing.key}", params={"customer": f"c{i}"})).json()
                for listing in sorted(tables) for i in range(20)
            ]  # fmt: skip
        requests.put_nowait({"type": "lifespan.shutdown"})
        await lifespan
        return replies

    replies = asyncio.run(scenario())
    in_kafka = {quote["event_id"]: quote for quote in logged(settings, {r["customer"] for r in replies})}
    assert [TOPICS["quotes"].validate(in_kafka[reply["quote_id"]]) for reply in replies] == [None] * 200
    assert all(in_kafka[r["quote_id"]]["price_minor"] == r["price_minor"] for r in replies)


def test_rebuild_redis_restores_all_tables_from_kafka(
    market: tuple[Settings, dict[Listing, PriceTable]],
) -> None:
    settings, tables = market
    store = RedisPriceTables(settings.redis.get_secret_value())
    store.mark_unready()
    redis.Redis.from_url(settings.redis.get_secret_value()).delete(*map(price_key, tables))
    assert not store.get_many(sorted(tables))
    done = walras("rebuild-redis", "--epoch", "again", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["listings"] >= len(tables)
    assert store.ready() == "again"
    found = store.get_many(sorted(tables))
    assert all(found[listing].version >= table.version for listing, table in tables.items())
    assert all(found[listing].table == table.table for listing, table in tables.items())


def test_reading_newest_first_returns_the_whole_topic(market: tuple[Settings, dict[Listing, PriceTable]]) -> None:
    settings, _ = market
    topic = TOPICS["decisions"].topic
    # Stretches of 1, 2, 4, … offsets per partition.
    stretches = list(read_newest_first(settings.kafka, topic, stretch=1))
    assert len(stretches) > 2 and len(stretches[0]) <= TOPICS["decisions"].partitions
    oldest_first = [
        record for stretch in reversed(stretches) for record in sorted(stretch, key=lambda r: r.offset)
    ]
    ends = {record.partition: record.offset for record in oldest_first}
    # Records that jobs write in the meantime have higher offsets.
    whole = [r for r in read_topic(settings.kafka, topic) if r.offset <= ends.get(r.partition, -1)]
    by_partition = sorted(whole, key=lambda record: (record.partition, record.offset))
    assert sorted(oldest_first, key=lambda record: record.partition) == by_partition


def test_decisions_are_explained_and_recomputed(market: tuple[Settings, dict[Listing, PriceTable]]) -> None:
    _, tables = market
    listing, table = next(iter(tables.items()))
    explained = walras("explain", listing.key)
    assert explained.exit_code == 0 and table.decision_id in explained.stdout
    assert walras("explain", f"{TENANT}/web-us-usd/none").exit_code == 1
    assert walras("recompute", table.decision_id).exit_code == 0
    assert walras("recompute", "no such decision").exit_code == 1


def test_freeze_command_satisfies_the_contract_and_has_a_known_target(platform: Settings) -> None:
    now_ms = platform.run_clock.now_ms()
    entry = CatalogEntry("e0", now_ms, TENANT, "web-us-usd", "s0", "s0", "shoes", "margin", "USD", 1, True, 1200,
                         1999)  # fmt: skip
    with Publisher(platform.kafka) as publisher:
        publisher.send("catalog", entry, timestamp_ms=now_ms)
    for unknown in (f"{TENANT}/web-us-usd/s-none", f"{TENANT}/web-us-eur", "edge-tset"):
        refused = walras("freeze", unknown, "--until", "2h", "--reason", "a test")
        assert refused.exit_code == 2 and f"got '{unknown}'; the nearest is" in refused.stderr
    done = walras("freeze", f"{TENANT}/web-us-usd", "--until", "2h", "--operator", "ops", "--reason", "a test")
    assert done.exit_code == 0
    commands = mine(platform, "commands")
    [command] = [c for c in commands if c.get("tenant") == TENANT and c["kind"] == "freeze"]
    assert TOPICS["commands"].validate(command) is None
    assert (command["market"], command["sku"], command["operator"]) == ("web-us-usd", None, "ops")


def test_live_view_returns_1_without_price_changes(platform: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert live_view.run_live_view(Settings.load(), plain=True, until_moved=1_000_000, timeout_s=2.0) == 1
    assert "expected 1000000 price changes" in capsys.readouterr().out
