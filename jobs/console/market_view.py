"""MarketView: the state of a running market, followed from Kafka, and what the console shows of it.

The console's page and the terminal's live view read it: price changes with their reasons, evidence per listing,
recent decisions, refused records, and how fast each topic grows. :mod:`jobs.console.market_records` keeps the
records that it follows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobs.connectors.kafka.following import TopicFollower
from jobs.connectors.kafka.offsets import TopicEnds
from jobs.connectors.kafka.reading import WHOLE_TOPIC, Record
from jobs.console.market_records import MarketRecords
from jobs.pricing.watcher.signals import signal_text
from schemas.codes import Fallback
from schemas.public_texts import CAUSES, FALLBACKS, OUTCOMES, REJECTIONS
from schemas.topics import TOPICS

BACKLOG: Mapping[str, int] = {
    "tables": WHOLE_TOPIC, "policies": WHOLE_TOPIC, "policy_changes": WHOLE_TOPIC, "refused_commands": 50,
    "decisions": 500, "features": 500, "evidence": 500, "rejected": 50, "rejected_cells": 50, "cells": 0,
    "models": WHOLE_TOPIC, "drift": 50,
}  # fmt: skip
"""Existing records read first, per partition; tables are compacted, so all of them are read."""


class MarketView(MarketRecords):
    """Follows the topics of :data:`BACKLOG` and keeps the newest records of each.

    Parameters
    ----------
    bootstrap : Kafka bootstrap servers.
    max_listings, points, recent : bounds of the records that are kept (:class:`MarketRecords`).

    Notes
    -----
    The thread reconnects by itself. :meth:`take` needs no broker: tests call it with records of their own.
    """

    def __init__(self, bootstrap: str, *, max_listings: int = 5_000, points: int = 180, recent: int = 200) -> None:
        super().__init__(max_listings=max_listings, points=points, recent=recent)
        self._bootstrap = bootstrap
        self._follower = TopicFollower(bootstrap, BACKLOG, self._follow, self._count_unreadable)
        self._ends: dict[str, tuple[float, int]] = {}
        self._rates: dict[str, float] = {}

    @property
    def error(self) -> str:
        """The current problem, empty if there is none."""
        return self._follower.error

    @property
    def caught_up(self) -> bool:
        """Whether the backlog has been read."""
        return self._follower.caught_up

    def start(self) -> None:
        """Follow the topics on background threads."""
        self._follower.start()
        self._follower.run("offsets", self._measure)

    def close(self) -> None:
        """Stop the threads."""
        self._follower.close()

    def _follow(self, record: Record, live: bool) -> None:
        self.take(record, live=live)

    def _count_unreadable(self, record: Record, error: Exception) -> None:
        self.totals["unreadable"] += 1

    def _measure(self) -> None:
        names = {t.topic: t.name for t in TOPICS.values()}
        asked = TopicEnds(self._bootstrap, names)
        while not self._follower.stopping.wait(1.0):
            ends: Counter[str] = Counter()
            for (topic, _), end in asked.now().items():
                ends[names[topic]] += end
            now = time.monotonic()
            with self._lock:
                for name, end in ends.items():
                    then, before = self._ends.get(name, (now, end))
                    if now > then:
                        # Smoothed over two seconds.
                        rate = (end - before) / (now - then)
                        self._rates[name] = rate if name not in self._rates else (self._rates[name] + rate) / 2
                    self._ends[name] = (now, end)

    def rates(self) -> dict[str, float]:
        """Return records a second by topic, and ``events`` (all inputs but ticks) and ``cell_rows``."""
        with self._lock:
            rates = dict(self._rates)
        inputs = (t.name for t in TOPICS.values() if t.input and t.name != "ticks")
        return rates | {
            "events": sum(rates.get(name, 0.0) for name in inputs),
            "cell_rows": self.cell_rows_per_second(),
        }

    def summary(self, tenant: str = "", *, prices_only: bool = False) -> dict[str, Any]:
        """Return what the page polls, JSON-ready.

        Parameters
        ----------
        tenant : the one whose data are shown; "" for every tenant, with figures of the whole run and refusals.
        prices_only : leave out evidence, decisions, models and refusals.

        Notes
        -----
        ``shows`` states which parts are there: ``run`` (figures of the whole run), ``analysis``.
        """
        shown: dict[str, Any] = {
            "changes": [asdict(change) | {"why": change.why} for change in self.changes(14, tenant)],
            "evidence": [], "decisions": [], "models": [], "drift": [], "rejected": {}, "refused": [],
            "refused_commands": [], "totals": {}, "rates": {}, "moved": 0,
            "listings": len(self.listings(tenant)), "error": self.error,
            "shows": {"run": not tenant, "analysis": not prices_only},
        }  # fmt: skip
        if not tenant:
            shown |= {
                "totals": dict(self.totals),
                "rates": {k: round(v, 1) for k, v in self.rates().items()},
                "moved": self.moved(),
            }
        if prices_only:
            return shown
        shown |= {
            "evidence": [with_text(point) for point in self.top_evidence(10, tenant=tenant)],
            "decisions": [
                each
                | {"why": CAUSES.get(each["cause"], each["cause"]), "result": OUTCOMES.get(each["outcome"], "")}
                | {"price_from": "" if each["fallback"] == Fallback.NONE else FALLBACKS.get(each["fallback"], "")}
                for each in self.decisions(12, tenant)
            ],
            "models": self.models(tenant)[:40],
            "refused_commands": self.refused_commands(5, tenant),
        }
        if not tenant:
            shown |= {
                "drift": self.drift(8),
                "rejected": dict(self.rejected_codes.most_common(8)),
                "refused": [[REJECTIONS.get(code, code), n] for code, n in self.rejected_codes.most_common(8)],
            }
        return shown


def with_text(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point of evidence with its strongest signal in words."""
    return dict(point) | {"text": signal_text(point["signal"], round(point["effect"], 2))}
