"""Request quotes from the edge throughout a run, and record failures and decreasing versions."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from schemas.listings import Listing

SLOW_S = 0.25
"""A slower response is recorded with its second and with the time that the prober waited for a processor."""


def processor_wait_s() -> float:
    """Return the seconds that this thread has waited for a processor; 0 where the system does not report it."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@dataclass
class Prober:
    """Request the listings in turn, ``per_second`` times a second, until :meth:`stop`.

    The requests are a robot's, whose session keeps no earlier price. A listing without a table or a list price
    (404, 503) counts only from its first price.
    """

    port: int
    key: str
    listings: list[Listing]
    per_second: float = 50.0
    answered: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    decreased: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slow: list[tuple[float, float, float]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _highest: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send requests until :meth:`stop`."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        turn = 0
        while not self._stop.wait(1 / self.per_second):
            listing = self.listings[turn % len(self.listings)]
            turn += 1
            began, waited = time.monotonic(), processor_wait_s()
            try:
                client.request(
                    "GET",
                    f"/v1/quotes/{listing.key}?customer=prober-{turn % 7}&bot=1",
                    headers={"authorization": f"Bearer {self.key}"},
                )
                reply = client.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException) as error:
                client.close()
                self._failed(
                    listing,
                    f"{error!r}; the prober waited for a processor for {processor_wait_s() - waited:.1f} s",
                )
                continue
            took = time.monotonic() - began
            if reply.status != 200:
                self._failed(listing, f"status {reply.status}")
                continue
            if took > SLOW_S:
                self.slow.append(
                    (round(began - self.began, 1), round(took, 2), round(processor_wait_s() - waited, 2))
                )
            quote = json.loads(body)
            self.answered += 1
            self.slowest_s = max(self.slowest_s, took)
            self.sources[quote["source"]] += 1
            highest = self._highest.get(listing.key, 0)
            if quote["version"] < highest:
                self.decreased.append(f"{listing.key}: {quote['version']} after {highest}")
            self._highest[listing.key] = max(highest, quote["version"])
        client.close()

    def _failed(self, listing: Listing, why: str) -> None:
        if listing.key in self._highest:
            self.failures.append(f"{listing.key} at {time.monotonic() - self.began:.1f} s: {why}")

    def stop(self) -> None:
        """End the requests."""
        self._stop.set()
