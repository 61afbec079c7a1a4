"""What is watched while a pipeline runs: when each minute was done, and how quick an offer becomes a table."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
import redis

from jobs.connectors.kafka.offsets import SILENT
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import follow
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry, Listing, Offer
from schemas.price_table import updates_channel
from schemas.topics import MINUTE_MS, TOPICS

PROBED = 20
SLOWEST = 8
"""Probes told one by one: what made them slow is most often a minute's change."""
TENANT, MARKET = "probe", "web-us-usd"


class Probed(NamedTuple):
    """One probe: at which second of a minute it was sent, and how long its table took."""

    second: float
    ms: float


@dataclass
class Minutes:
    """Wall delay of each minute's last batch past its window's end, in `cells`: demand_job's whole work.

    The delay holds the topics' lateness; what must not happen is that it grows.
    """

    settings: Settings
    done: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    last_s: dict[int, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Follow until told to stop."""
        for record in follow(self.settings.kafka, [TOPICS["cells"].topic], poll_s=0.2):
            if self.stop.is_set():
                return
            if record is not None and record.value:
                end = int(record.value.split(b'"window_end_ms":', 1)[1].split(b",", 1)[0])
                self.done[end] += 1
                self.last_s[end] = time.time() - end / 1000

    def delays(self, from_ms: int, upto_ms: int) -> list[float]:
        """Seconds past each full minute's end in (from, upto], for the minutes of which every bucket has come."""
        return [
            self.last_s[end]
            for end in sorted(self.last_s)
            if from_ms + MINUTE_MS <= end <= upto_ms and self.done[end] >= self.settings.buckets
        ]


class Probes:
    """Rivals' price changes on listings of their own, each timed until its table can be read in Redis.

    The update channel's message comes after the table is written: when it is heard, the table is there.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listings = [Listing(TENANT, MARKET, f"probe-{i}") for i in range(PROBED)]
        self._stop = threading.Event()
        self._heard: dict[str, float] = {}
        self._new = threading.Condition()
        self._redis = redis.Redis.from_url(settings.redis.get_secret_value(), decode_responses=True)
        # Its refusals come with flush; a broker that goes down before it is no news.
        self._out = Publisher(settings.kafka, **{"linger.ms": 0, "logger": SILENT})
        self._listening = threading.Thread(target=self._listen, name="probes", daemon=True)
        self._offers, self._turn = 0, PROBED

    def open(self) -> None:
        """Publish the listings and wait for nothing: their first tables come with the next minute."""
        self._listening.start()
        now = round(time.time() * 1000)
        for x in self.listings:
            entry = CatalogEntry(
                f"c-{x.sku}", now, x.tenant, x.market, x.sku, x.sku, "probes", "kvi", "USD", 1, True, 1200, 2000
            )
            self._out.send("catalog", entry, timestamp_ms=now)
            self._offer(x, 1900)
        self._out.flush(30)

    def ready(self) -> bool:
        """Whether every probed listing has a table."""
        return all(self._redis.exists(f"price:{{{TENANT}:{MARKET}}}:{x.sku}") for x in self.listings)

    def run(self, seconds: float, every_s: float, timeout_s: float = 30.0) -> list[Probed]:
        """Probe in turn for ``seconds``; a lost one counts as ``timeout_s``.

        Probes are spread evenly over the minute when ``every_s`` does not divide it. What falls due while one is
        waited for comes right after it, but none after the end.
        """
        found: list[Probed] = []
        began, first = time.monotonic(), self._turn
        while (due := began + (self._turn - first) * every_s) < began + seconds:
            wait = max(0.0, due - time.monotonic())
            if self._stop.wait(wait) or time.monotonic() > began + seconds:
                break
            listing = self.listings[self._turn % PROBED]
            # Up and down by turns of the whole round, so that each change is one.
            price = 1900 + 60 * (self._turn // PROBED % 2) + 7 * (self._turn // PROBED % 5)
            self._turn += 1
            with self._new:
                self._heard.pop(listing.sku, None)
                sent, second = time.monotonic(), time.time() % 60
                self._offer(listing, price)
                got = self._new.wait_for(lambda sku=listing.sku: sku in self._heard, timeout_s)  # type: ignore[misc]
                took = self._heard[listing.sku] - sent if got else timeout_s
                found.append(Probed(second, 1000 * took))
        return found

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._out.flush(30)
        self._listening.join(5)
        self._redis.close()

    def _offer(self, x: Listing, price: int) -> None:
        now = round(time.time() * 1000)
        self._offers += 1
        offer = Offer(
            f"o-{self._offers}",
            now,
            x.tenant,
            x.market,
            x.sku,
            x.sku,
            "rival",
            price,
            0,
            True,
            "USD",
            1,
            "probe",
            1.0,
        )
        self._out.send("offers", offer, timestamp_ms=now)

    def _listen(self) -> None:
        with self._redis.pubsub() as hints:
            hints.subscribe(updates_channel(TENANT, MARKET))
            while not self._stop.is_set():
                message = hints.get_message(ignore_subscribe_messages=True, timeout=0.5)
                if message is not None:
                    with self._new:
                        self._heard[message["data"].rpartition(" ")[0]] = time.monotonic()
                        self._new.notify_all()


def quantiles(probed: list[Probed]) -> dict[str, Any]:
    """How many, median, p99, and the slowest: at which second of a minute, and how long."""
    if not probed:
        return {"n": 0, "p50_ms": None, "p99_ms": None, "slowest": []}
    p50, p99 = np.quantile([each.ms for each in probed], [0.5, 0.99])
    slowest = sorted(probed, key=lambda each: -each.ms)[:SLOWEST]
    return {
        "n": len(probed), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1),
        "slowest": [{"second": round(each.second, 1), "ms": round(each.ms, 1)} for each in slowest],
    }  # fmt: skip


def checkpoints(overview: dict[str, Any]) -> dict[str, Any]:
    """A job's checkpoints out of Flink's answer: how many, how long, how big."""
    summary = (overview.get("summary") or {}).get("end_to_end_duration") or {}
    size = (overview.get("summary") or {}).get("state_size") or {}
    counts = overview.get("counts") or {}
    return {
        "completed": counts.get("completed", 0), "failed": counts.get("failed", 0),
        "ms_avg": summary.get("avg"), "ms_max": summary.get("max"), "bytes_max": size.get("max"),
    }  # fmt: skip


def as_json(value: Any) -> str:
    """For a line of progress."""
    return orjson.dumps(value).decode()
