"""Measurements of a running pipeline: the delay of each minute, and the time from an offer to its table."""

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
from schemas.events import CatalogEntry, Offer
from schemas.listings import Listing
from schemas.redis_keys import updates_channel
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

PROBED = 20
SLOWEST = 8
"""Number of the slowest probes that are reported one by one; most of them coincide with the end of a minute."""
TENANT, MARKET = "probe", "web-us-usd"


class Probe(NamedTuple):
    """One probe: the second of the minute at which it was sent, and the milliseconds until its table."""

    second: float
    ms: float


@dataclass
class MinuteDelays:
    """Wall delay between a minute's end and its last batch in ``cells``, the output of demand_job.

    The delay includes the topics' lateness. A growing delay means that the pipeline does not sustain the rate.
    """

    settings: Settings
    done: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    last_s: dict[int, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Follow the topic until ``stop`` is set."""
        for record in follow(self.settings.kafka, [TOPICS["cells"].topic], poll_s=0.2):
            if self.stop.is_set():
                return
            if record is not None and record.value:
                end = int(record.value.split(b'"window_end_ms":', 1)[1].split(b",", 1)[0])
                self.done[end] += 1
                self.last_s[end] = time.time() - end / 1000

    def delays(self, from_ms: int, upto_ms: int) -> list[float]:
        """Return the delays in seconds of the full minutes in (from, upto] whose batches are complete."""
        return [
            self.last_s[end]
            for end in sorted(self.last_s)
            if from_ms + MINUTE_MS <= end <= upto_ms and self.done[end] >= self.settings.buckets
        ]


class Probes:
    """Measure the time from a rival's price change to the table in Redis, on listings of their own.

    The message in the update channel follows the write of the table, so that its arrival is the end of the
    measurement.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listings = [Listing(TENANT, MARKET, f"probe-{i}") for i in range(PROBED)]
        self._stop = threading.Event()
        self._received: dict[str, float] = {}
        self._new = threading.Condition()
        self._redis = redis.Redis.from_url(settings.redis.get_secret_value(), decode_responses=True)
        # Delivery errors are raised by flush, so that the client's log is not needed.
        self._out = Publisher(settings.kafka, **{"linger.ms": 0, "logger": SILENT})
        self._listener = threading.Thread(target=self._listen, name="probes", daemon=True)
        self._offers, self._turn = 0, PROBED

    def open(self) -> None:
        """Publish the listings; their first tables follow with the next minute."""
        self._listener.start()
        now = round(time.time() * 1000)
        for x in self.listings:
            entry = CatalogEntry(
                f"c-{x.sku}", now, x.tenant, x.market, x.sku, x.sku, "probes", "kvi", "USD", 1, True, 1200, 2000
            )
            self._out.send("catalog", entry, timestamp_ms=now)
            self._offer(x, 1900)
        self._out.flush(30)

    def ready(self) -> bool:
        """Return whether every probed listing has a table."""
        return all(self._redis.exists(f"price:{{{TENANT}:{MARKET}}}:{x.sku}") for x in self.listings)

    def run(self, seconds: float, every_s: float, timeout_s: float = 30.0) -> list[Probe]:
        """Probe the listings in turn for ``seconds`` and return the probes; a lost one counts as ``timeout_s``.

        Probes are distributed evenly over the minute when ``every_s`` does not divide it. A probe that falls due
        while another is measured follows it immediately. No probe starts after the end.
        """
        found: list[Probe] = []
        began, first = time.monotonic(), self._turn
        while (due := began + (self._turn - first) * every_s) < began + seconds:
            wait = max(0.0, due - time.monotonic())
            if self._stop.wait(wait) or time.monotonic() > began + seconds:
                break
            listing = self.listings[self._turn % PROBED]
            # The price differs from round to round, so that every probe changes the offer.
            price = 1900 + 60 * (self._turn // PROBED % 2) + 7 * (self._turn // PROBED % 5)
            self._turn += 1
            with self._new:
                self._received.pop(listing.sku, None)
                sent, second = time.monotonic(), time.time() % 60
                self._offer(listing, price)
                got = self._new.wait_for(lambda sku=listing.sku: sku in self._received, timeout_s)  # type: ignore[misc]
                took = self._received[listing.sku] - sent if got else timeout_s
                found.append(Probe(second, 1000 * took))
        return found

    def close(self) -> None:
        """Stop the listener and close the clients."""
        self._stop.set()
        self._out.flush(30)
        self._listener.join(5)
        self._redis.close()

    def _offer(self, x: Listing, price: int) -> None:
        now = round(time.time() * 1000)
        self._offers += 1
        offer = Offer(
            f"o-{self._offers}", now, x.tenant, x.market, x.sku, x.sku, "rival", price, 0, True, "USD", 1,
            "probe", 1.0,
        )  # fmt: skip
        self._out.send("offers", offer, timestamp_ms=now)

    def _listen(self) -> None:
        with self._redis.pubsub() as pubsub:
            pubsub.subscribe(updates_channel(TENANT, MARKET))
            while not self._stop.is_set():
                message = pubsub.get_message(ignore_subscribe_messages=True, timeout=0.5)
                if message is not None:
                    with self._new:
                        self._received[message["data"].rpartition(" ")[0]] = time.monotonic()
                        self._new.notify_all()


def quantiles(probes: list[Probe]) -> dict[str, Any]:
    """Return the number of probes, their median and p99, and the slowest ones."""
    if not probes:
        return {"n": 0, "p50_ms": None, "p99_ms": None, "slowest": []}
    p50, p99 = np.quantile([each.ms for each in probes], [0.5, 0.99])
    slowest = sorted(probes, key=lambda each: -each.ms)[:SLOWEST]
    return {
        "n": len(probes), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1),
        "slowest": [{"second": round(each.second, 1), "ms": round(each.ms, 1)} for each in slowest],
    }  # fmt: skip


def checkpoints(overview: dict[str, Any]) -> dict[str, Any]:
    """Return the number, duration and size of a job's checkpoints from Flink's response."""
    summary = (overview.get("summary") or {}).get("end_to_end_duration") or {}
    size = (overview.get("summary") or {}).get("state_size") or {}
    counts = overview.get("counts") or {}
    return {
        "completed": counts.get("completed", 0), "failed": counts.get("failed", 0),
        "ms_avg": summary.get("avg"), "ms_max": summary.get("max"), "bytes_max": size.get("max"),
    }  # fmt: skip


def as_json(value: Any) -> str:
    """Return a value as JSON for a line of progress."""
    return orjson.dumps(value).decode()
