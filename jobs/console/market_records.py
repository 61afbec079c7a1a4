"""The newest records of a running market, kept in bounded memory: prices, reasons, evidence, decisions, refusals.

One thread adds records; readers take copies under one lock.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Any

from jobs.audit.explanation import learned_state
from jobs.connectors.kafka.reading import Record
from jobs.console.price_changes import EVIDENCE_CAUSES, Change, cause_in
from jobs.policies.documents import ScopeHistory
from jobs.pricing.policies import PolicyCatalog
from schemas.codes import Fallback
from schemas.listings import Listing
from schemas.time_units import MINUTE_MS


class MarketRecords:
    """Keeps the newest records of each topic.

    Parameters
    ----------
    max_listings : most listings whose table, evidence and last decision are kept; the least recently updated is
        dropped.
    points : evidence points kept per listing.
    recent : changes, decisions and refusals kept.

    Attributes
    ----------
    totals, rejected_codes : records by topic, and refused records by code.
    policies : policies by the hash that decisions record.
    """

    def __init__(self, *, max_listings: int, points: int, recent: int) -> None:
        self._max_listings, self._points = max_listings, points
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._evidence: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()
        self._last_decision: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._learned: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._causes: OrderedDict[str, tuple[str, int | None]] = OrderedDict()
        self._changes: deque[Change] = deque(maxlen=recent)
        self._decisions: deque[dict[str, Any]] = deque(maxlen=recent)
        self._rejected: deque[dict[str, Any]] = deque(maxlen=recent)
        self._models: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._drift: deque[dict[str, Any]] = deque(maxlen=recent)
        self._policy_changes: dict[str, dict[str, Any]] = {}
        self._refused_commands: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.policies = PolicyCatalog()
        self.totals: Counter[str] = Counter()
        self.rejected_codes: Counter[str] = Counter()
        self._moved = 0
        self._cells: deque[tuple[float, int]] = deque(maxlen=4096)

    def take(self, record: Record, *, live: bool = True) -> None:
        """Process one record of a topic.

        Parameters
        ----------
        live : whether it was read while following, not from the backlog.
        """
        name = record.topic.split(".")[1]
        if name == "cells":
            rows = (record.value or b"").count(b'"cell"')
            with self._lock:
                self.totals["cells"] += rows
                self._cells.append((time.monotonic(), rows))
            return
        value = record.json()
        if not value:
            return
        with self._lock:
            self.totals[name] += live
            getattr(self, f"_take_{name}")(value, live)

    def _take_tables(self, value: dict[str, Any], live: bool) -> None:
        key = _key(value)
        before = self._tables.get(key)
        if before is not None and int(before["version"]) >= int(value["version"]):
            return
        _remember(self._tables, key, value, self._max_listings)
        old, new = int((before or value)["default_minor"]), int(value["default_minor"])
        if before is None or old == new:
            return
        cause, latency_ms = self._causes.get(value["decision_id"], (cause_in(value["reason"]), None))
        self._changes.append(
            Change(
                listing=key,
                old_minor=old,
                new_minor=new,
                currency=value["currency"],
                reason=value["reason"],
                cause=cause,
                at_ms=int(value["published_ms"]),
                version=int(value["version"]),
                decision_id=value["decision_id"],
                live=live,
                latency_ms=latency_ms,
            )
        )
        self._moved += live and cause in EVIDENCE_CAUSES

    def _take_policies(self, value: dict[str, Any], live: bool) -> None:
        self.policies.take(value)

    def _take_policy_changes(self, value: dict[str, Any], live: bool) -> None:
        self._policy_changes[value["command_id"]] = value

    def _take_refused_commands(self, value: dict[str, Any], live: bool) -> None:
        _remember(self._refused_commands, value["command_id"], value, 200)

    def _take_decisions(self, value: dict[str, Any], live: bool) -> None:
        key = _key(value)
        latency = max(0, int(value["decided_at_ms"]) - int(value["event_time_ms"]))
        _remember(self._last_decision, key, value, self._max_listings)
        _remember(self._causes, value["decision_id"], (value["cause"], latency), 4 * self._max_listings)
        self._decisions.append(
            {
                k: value.get(k)
                for k in ("decision_id", "cause", "cause_detail", "event_time_ms", "published", "version")
            }
            | {"listing": key, "outcome": outcome(value), "latency_ms": latency, "group": group_of(value)}
            | {"fallback": (value.get("result") or {}).get("fallback", Fallback.NONE.value)}
        )
        # The table may arrive before its decision: there is no order between the two topics.
        for change in reversed(self._changes):
            if change.decision_id == value["decision_id"]:
                self._moved += (
                    change.live and value["cause"] in EVIDENCE_CAUSES and change.cause not in EVIDENCE_CAUSES
                )
                change.cause, change.latency_ms = value["cause"], latency
                break

    def _take_features(self, value: dict[str, Any], live: bool) -> None:
        _remember(self._learned, value["listing"], learned_state(value), self._max_listings)

    def _take_evidence(self, value: dict[str, Any], live: bool) -> None:
        key = _key(value)
        points = self._evidence.get(key) or deque(maxlen=self._points)
        points.append(value)
        _remember(self._evidence, key, points, self._max_listings)
        self.totals["triggers"] += live and bool(value["triggered"])

    def _take_models(self, value: dict[str, Any], live: bool) -> None:
        _remember(self._models, "/".join((value["tenant"], value["category"])), value, self._max_listings)

    def _take_drift(self, value: dict[str, Any], live: bool) -> None:
        self._drift.append(value)

    def _take_rejected(self, value: dict[str, Any], live: bool) -> None:
        self.rejected_codes[value["code"]] += 1
        self._rejected.append(
            {k: value.get(k) for k in ("topic", "partition", "offset", "field", "code", "detail")}
        )

    def _take_rejected_cells(self, value: dict[str, Any], live: bool) -> None:
        self.rejected_codes[value["code"]] += 1

    # ---- reading ----

    def models(self, tenant: str = "") -> list[dict[str, Any]]:
        """Return the newest report of each category's models, sorted by category."""
        with self._lock:
            return [self._models[key] for key in sorted(self._models) if is_of(key, tenant)]

    def drift(self, n: int = 10) -> list[dict[str, Any]]:
        """Return the last confirmed changes of demand, newest first."""
        with self._lock:
            return list(self._drift)[: -n - 1 : -1]

    def policy_history(self, tenant: str = "") -> ScopeHistory:
        """Return every policy patch, accepted or refused."""
        with self._lock:
            return ScopeHistory.of(v for v in self._policy_changes.values() if tenant in ("", v["tenant"]))

    def changes(self, n: int = 20, tenant: str = "") -> list[Change]:
        """Return the last price changes, newest first."""
        with self._lock:
            return [c for c in reversed(self._changes) if is_of(c.listing, tenant)][:n]

    def refused_commands(self, n: int = 10, tenant: str = "") -> list[dict[str, Any]]:
        """Return the last commands that were not carried out, newest first."""
        with self._lock:
            found = [v for v in self._refused_commands.values() if tenant in ("", v["tenant"])]
        return sorted(found, key=lambda v: (v["event_time_ms"], v["command_id"]), reverse=True)[:n]

    def moved(self) -> int:
        """Return how many live changes were caused by evidence or a rule over facts."""
        return self._moved

    def decisions(self, n: int = 20, tenant: str = "") -> list[dict[str, Any]]:
        """Return summaries of the last decisions, newest first."""
        with self._lock:
            return [d for d in reversed(self._decisions) if is_of(d["listing"], tenant)][:n]

    def rejected(self, n: int = 20) -> list[dict[str, Any]]:
        """Return the last refusals, newest first, without the refused bytes."""
        with self._lock:
            return list(self._rejected)[: -n - 1 : -1]

    def last_decision(self, listing: str) -> dict[str, Any] | None:
        """Return the newest decision about a listing, complete."""
        with self._lock:
            return self._last_decision.get(listing)

    def last_decisions(self, tenant: str = "") -> list[dict[str, Any]]:
        """Return the newest decision of every listing that is kept, complete."""
        with self._lock:
            return [value for key, value in self._last_decision.items() if is_of(key, tenant)]

    def learned(self, listing: str) -> dict[str, Any] | None:
        """Return how far the estimates of a listing can be trusted."""
        with self._lock:
            return self._learned.get(listing)

    def table(self, listing: str) -> dict[str, Any] | None:
        """Return the newest `tables` record of a listing."""
        with self._lock:
            return self._tables.get(listing)

    def listings(self, tenant: str = "") -> list[str]:
        """Return the keys of all listings with a table, sorted."""
        with self._lock:
            return sorted(key for key in self._tables if is_of(key, tenant))

    def evidence(self, listing: str) -> list[dict[str, Any]]:
        """Return a listing's evidence points, oldest first."""
        with self._lock:
            return list(self._evidence.get(listing, ()))

    def top_evidence(self, n: int = 8, within_ms: int = 30 * MINUTE_MS, tenant: str = "") -> list[dict[str, Any]]:
        """Return the newest point of the listings with the most evidence, none older than ``within_ms``."""
        with self._lock:
            latest = [(key, points[-1]) for key, points in self._evidence.items() if is_of(key, tenant)]
        newest = max((p["window_end_ms"] for _, p in latest), default=0)
        fresh = [(key, p) for key, p in latest if p["window_end_ms"] >= newest - within_ms]
        fresh.sort(key=lambda item: (-item[1]["evidence"], item[0]))
        return [p | {"listing": key} for key, p in fresh[:n]]

    def cell_rows_per_second(self) -> float:
        """Return the rows of cells read per second, over the last ten seconds."""
        with self._lock:
            recent = [(t, n) for t, n in self._cells if t > time.monotonic() - 10]
        span = max(1.0, time.monotonic() - recent[0][0]) if recent else 1.0
        return sum(n for _, n in recent) / span


def is_of(key: str, tenant: str) -> bool:
    """Return whether a key that begins with a tenant is of this one; "" is every tenant.

    >>> is_of("acme/web/s1", "acme"), is_of("acme2/web/s1", "acme"), is_of("acme/web/s1", "")
    (True, False, True)
    """
    return not tenant or key.startswith(f"{tenant}/")


def outcome(decision: Mapping[str, Any]) -> str:
    """Return a decision's outcome; PUBLISHED or HELD if its result has none."""
    result = decision.get("result") or {}
    return str(result.get("outcome") or ("PUBLISHED" if decision.get("published") else "HELD"))


def group_of(decision: Mapping[str, Any]) -> list[str]:
    """Return the other listings that were decided together with a decision's listing.

    >>> members = [{"listing": "a/m/s1"}, {"listing": "a/m/s2"}]
    >>> group_of({"inputs": {"listing": "a/m/s1", "group": {"members": members}}})
    ['a/m/s2']
    """
    inputs = decision.get("inputs") or {}
    members = [member["listing"] for member in (inputs.get("group") or {}).get("members", ())]
    return [member for member in members if member != inputs.get("listing")]


def _key(value: Mapping[str, Any]) -> str:
    return Listing.key_in(value)


def _remember(kept: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
