"""Replies of a load generator, and what is computed from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from infra.reports.edge_drill.connection import NO_REPLY
from schemas.events import QuoteSource

SOURCES = frozenset(source.value for source in QuoteSource)


class Reply(NamedTuple):
    """A request and its reply. Times are monotonic seconds, which all processes of a machine share.

    ``due_s`` is when the open loop had to send the request, ``sent_s`` when it began to, if need be by opening a
    connection. ``caller`` is the position of the request's access key
    in the plan. ``age_ms`` and ``version`` are -1 where the reply has none.
    """

    due_s: float
    sent_s: float
    received_s: float
    status: int
    caller: int
    listing: str
    quote_id: str
    source: str
    age_ms: int
    version: int
    retry_after: str

    @property
    def took_ms(self) -> float:
        """Time from sending to the last byte."""
        return 1000 * (self.received_s - self.sent_s)


def save(path: Path, replies: Iterable[Reply]) -> None:
    """Write replies as lines of JSON."""
    with path.open("wb") as file:
        for reply in replies:
            file.write(orjson.dumps(tuple(reply)) + b"\n")


def load(path: Path) -> list[Reply]:
    """Return the replies of a file, in the order in which they were due."""
    return sorted(Reply(*orjson.loads(line)) for line in path.read_bytes().splitlines())


def quantile(values: Sequence[float], q: float) -> float | None:
    """Return a quantile, rounded to hundredths; None without values."""
    return round(float(np.quantile(values, q)), 2) if values else None


def between(replies: Iterable[Reply], begin_s: float, end_s: float) -> list[Reply]:
    """Return the replies to requests that were due in [begin, end)."""
    return [reply for reply in replies if begin_s <= reply.due_s < end_s]


def timing(replies: Sequence[Reply], accepted: Callable[[Reply], bool] = lambda _: True) -> dict[str, Any]:
    """Return quantiles of the time of accepted replies, and of the lag of the load generator, in milliseconds.

    A request without a reply counts with the time after which it was given up.
    """
    times = [reply.took_ms for reply in replies if accepted(reply)]
    lags = [1000 * (reply.sent_s - reply.due_s) for reply in replies]
    return {
        "replies": len(replies), "p50_ms": quantile(times, 0.5), "p99_ms": quantile(times, 0.99),
        "max_ms": quantile(times, 1.0), "generator_lag_p99_ms": quantile(lags, 0.99),
        "generator_lag_max_ms": quantile(lags, 1.0),
    }  # fmt: skip


def statuses(replies: Iterable[Reply]) -> dict[str, int]:
    """Return the number of replies by status; ``none`` without a reply."""
    counts = Counter("none" if reply.status == NO_REPLY else str(reply.status) for reply in replies)
    return dict(sorted(counts.items()))


def without_origin(replies: Iterable[Reply]) -> list[Reply]:
    """Return the quotes that do not state a source and an age.

    >>> answered = Reply(0, 0, 0, 200, 0, "a/b/c", "q-1", "stale", 5, 7, "")
    >>> len(without_origin([answered, answered._replace(source=""), answered._replace(age_ms=-1)]))
    2
    """
    return [r for r in replies if r.status == 200 and (r.source not in SOURCES or r.age_ms < 0)]


def older_versions(replies: Iterable[Reply]) -> list[str]:
    """Return a line per reply of one edge that has an older version than a reply received before it was requested.

    A list price has version 0 and no place in the order.

    >>> first = Reply(0, 0.0, 0.1, 200, 0, "a/b/c", "q-1", "table", 5, 7, "")
    >>> older_versions([first, first._replace(sent_s=0.2, received_s=0.3, version=6)])
    ['a/b/c: version 6 after 7']
    """
    found = []
    by_listing: dict[str, list[Reply]] = {}
    for reply in replies:
        if reply.version > 0:
            by_listing.setdefault(reply.listing, []).append(reply)
    for listing, answered in sorted(by_listing.items()):
        received = sorted(answered, key=lambda reply: reply.received_s)
        highest, position = 0, 0
        for reply in sorted(answered, key=lambda reply: reply.sent_s):
            while position < len(received) and received[position].received_s <= reply.sent_s:
                highest = max(highest, received[position].version)
                position += 1
            if reply.version < highest:
                found.append(f"{listing}: version {reply.version} after {highest}")
    return found
