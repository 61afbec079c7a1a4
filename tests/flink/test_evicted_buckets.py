"""repricing_job with more buckets than a worker keeps live, so that its state is in RocksDB.

The tests share a platform of their own, which has one bucket more than the limit. Each test uses its own listing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from infra.local import jobs as cluster_jobs
from infra.local.parts import TASK_MANAGERS, flink_get
from infra.local.platform import Platform
from infra.reports.chaos.disturbances import kill
from infra.reports.inputs.cell_batches import offers, opening
from infra.reports.waiting import until
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.settings import Settings
from schemas.listings import Listing, bucket_of
from schemas.price_table import PriceTable
from schemas.time_units import MINUTE_MS
from tests.conftest import walras_variables

pytestmark = pytest.mark.platform
BUCKETS = Settings().live_buckets + 1
LISTINGS = NEW, OLD, REPEATED, MARKER = tuple(Listing("bench", "web-us-usd", f"sku-{i}") for i in range(4))


@dataclass
class OpenMarket:
    """A platform on which every listing has its first table."""

    platform: Platform
    settings: Settings
    tables: RedisPriceTables
    out: Publisher
    first: dict[Listing, PriceTable]

    def send_offer(self, listing: Listing, price: int, *, age_ms: int = 0) -> None:
        """Send the offers of both rivals, of which the second is 10 minor units higher."""
        now_ms = self.settings.run_clock.now_ms()
        for row in offers(int(listing.sku[-1]), now_ms, price):
            offer = {name: value for name, value in row.items() if name not in ("kind", "p", "o")}
            self.out.send("offers", offer, timestamp_ms=now_ms - age_ms)
        self.out.flush(30)

    def table(self, listing: Listing) -> PriceTable:
        """Return a listing's present table."""
        return self.tables.get_many([listing])[listing]

    def until_offer(self, listing: Listing, offer_minor: int) -> None:
        """Wait until a listing's table contains an offer."""
        what = f"a table of {listing.sku} with the offer {offer_minor}"
        until(what, lambda: self.table(listing).offer_minor == offer_minor)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenMarket]:
    """Run repricing_job alone and open the listings."""
    patch = pytest.MonkeyPatch()
    for name in walras_variables():
        patch.delenv(name)
    home = tmp_path_factory.mktemp("crowded")
    patch.setenv("WALRAS_HOME", str(home))
    platform = Platform(home)
    try:
        platform.up(
            ["broker", "redis", "jobmanager", *TASK_MANAGERS], job_names=["repricing_job"], speed=1,
            checkpoint_interval_s=1.0, parallelism=1, extra={"BUCKETS": str(BUCKETS)},
        )  # fmt: skip
        settings = platform.settings()
        tables = RedisPriceTables(settings.redis.get_secret_value())
        with Publisher(settings.kafka) as out:
            _open(settings, out)
            first = until("the first tables", lambda: _tables_of_all(tables))
            yield OpenMarket(platform, settings, tables, out, first)
        tables.close()
    finally:
        platform.down()
        patch.undo()


def _tables_of_all(tables: RedisPriceTables) -> dict[Listing, PriceTable] | None:
    found = tables.get_many(LISTINGS)
    return found if len(found) == len(LISTINGS) else None


def _open(settings: Settings, out: Publisher) -> None:
    now_ms = settings.run_clock.now_ms()
    end_ms = now_ms - now_ms % MINUTE_MS
    rows = opening(len(LISTINGS), end_ms - MINUTE_MS)
    batches: dict[int, list[dict[str, object]]] = {}
    for row in rows:
        listing = Listing(row["tenant"], row["market"], row["sku"])
        role = {"role": "kvi"} if row["kind"] == "catalog" else {}
        batches.setdefault(bucket_of(listing.key, BUCKETS), []).append(row | role)
    for bucket, mine in batches.items():
        batch = {"bucket": bucket, "window_end_ms": end_ms, "rows": mine}
        out.send("cells", batch, timestamp_ms=end_ms, key=str(bucket))
    out.flush(30)


def test_not_every_bucket_is_live(market: OpenMarket) -> None:
    assert not market.settings.all_buckets_live


def test_inputs_of_the_host_are_hashed_exchanges(market: OpenMarket) -> None:
    # Unaligned checkpoints need an exchange: chained inputs would align their barriers before the host.
    assert _exchanges_into_the_host(market.platform) == ["HASH"] * 3


def test_new_offer_updates_the_table_immediately(market: OpenMarket) -> None:
    assert market.first[NEW].offer_minor == 1995
    market.send_offer(NEW, 1800)
    market.until_offer(NEW, 1805)


def test_old_offer_waits_for_its_minute(market: OpenMarket) -> None:
    market.send_offer(OLD, 1800, age_ms=30_000)
    market.send_offer(MARKER, 1800)
    market.until_offer(MARKER, 1805)
    assert market.table(OLD) == market.first[OLD]
    market.send_offer(OLD, 1700)
    market.until_offer(OLD, 1705)


def test_repeated_outlier_waits_for_its_minute(market: OpenMarket) -> None:
    # A jump counts when it is received twice, but a second equal offer is skipped until the minute's batch.
    for _ in range(2):
        market.send_offer(REPEATED, 800)
    market.send_offer(MARKER, 1700)
    market.until_offer(MARKER, 1705)
    assert market.table(REPEATED).offer_minor == market.first[REPEATED].offer_minor


def test_killed_task_manager_loses_no_state(market: OpenMarket) -> None:
    before = market.table(NEW)
    kill(market.platform, "taskmanager_prices")
    running = partial(cluster_jobs.not_fully_running, market.platform.env, "repricing_job")
    until("the failure detected", lambda: running() is not None)
    until("repricing_job running again", lambda: running() is None)
    # Only a bucket that is restored with its listing can use the offer.
    market.send_offer(NEW, 1750)
    market.until_offer(NEW, 1755)
    assert market.table(NEW).version > before.version


def _exchanges_into_the_host(platform: Platform) -> list[str]:
    job = next(job for job in cluster_jobs.all_jobs(platform.env) if job.name == "repricing_job")
    nodes = dict(flink_get(platform.env, f"/jobs/{job.id}/plan"))["plan"]["nodes"]
    host = next(node for node in nodes if node["description"].startswith("repricing_job.listings"))
    return [exchange["ship_strategy"] for exchange in host["inputs"]]
