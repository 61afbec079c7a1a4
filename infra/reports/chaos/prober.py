"""Shoppers who never stop asking the edge: was every question answered, and did a version ever fall?"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from schemas.events import Listing

SLOW_S = 0.25
"""An answer that took longer is noted with its second, and with what of it the prober itself was kept waiting."""


def waited_s() -> float:
    """How long this thread has waited for a processor since it began; 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@dataclass
class Prober:
    """Asks an edge for the listings in turn, ``per_second`` times a second, until told to stop.

    A listing without a table or list price yet (404, 503) is asked again and counts only from its first price.
    """

    port: int
    listings: list[Listing]
    per_second: float = 50.0
    asked: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    fallen: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slow: list[tuple[float, float, float]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _highest: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until :meth:`stop`."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        turn = 0
        while not self._stop.wait(1 / self.per_second):
            listing = self.listings[turn % len(self.listings)]
            turn += 1
            began, waited = time.monotonic(), waited_s()
            try:
                client.request("GET", f"/v1/quotes/{listing.key}?customer=prober-{turn % 7}")
                reply = client.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException) as error:
                client.close()
                self._failed(listing, f"{error!r}; the prober itself was kept waiting {waited_s() - waited:.1f} s")
                continue
            took = time.monotonic() - began
            if reply.status != 200:
                self._failed(listing, f"status {reply.status}")
                continue
            if took > SLOW_S:
                self.slow.append((round(began - self.began, 1), round(took, 2), round(waited_s() - waited, 2)))
            said = json.loads(body)
            self.asked += 1
            self.slowest_s = max(self.slowest_s, took)
            self.sources[said["source"]] += 1
            highest = self._highest.get(listing.key, 0)
            if said["version"] < highest:
                self.fallen.append(f"{listing.key}: {said['version']} after {highest}")
            self._highest[listing.key] = max(highest, said["version"])
        client.close()

    def _failed(self, listing: Listing, why: str) -> None:
        if listing.key in self._highest:
            self.failures.append(f"{listing.key} at {time.monotonic() - self.began:.1f} s: {why}")

    def stop(self) -> None:
        """End."""
        self._stop.set()
