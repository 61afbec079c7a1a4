"""RateLimits: how many quotes a key and an address may ask for, counted here and once a second in Redis.

A request costs two dictionary look-ups and no round trip. Every second the counts are added to those of the other
edges in Redis, which says how much is left of each limit. Between two such seconds an edge gives at most what was
left. Without Redis each edge counts alone, so that a failure of Redis refuses no caller below the limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE

log = logging.getLogger(__name__)

WINDOW_S = 10
"""Length of a window: a limit per second is applied as ten times as much in ten seconds, so that bursts pass."""
BYTES_PER_QUOTE = 40
"""Bytes of a body that count as one quote: about the length of a listing's name in a list."""
MOST_NAMES = 100_000
"""Keys and addresses counted at the same time; beyond them new ones are not limited until the next second."""


class Left(Protocol):
    """What is left of a limit, and when its window ends, epoch seconds."""

    @property
    def left(self) -> int: ...
    @property
    def ends_s(self) -> float: ...


class Counts(Protocol):
    """Counts over all edges."""

    async def add(self, counts: Mapping[str, int], limits: Mapping[str, int]) -> Mapping[str, Left]: ...


class _Window(NamedTuple):
    left: int
    ends_s: float


Headers = tuple[tuple[bytes, bytes], ...]


class RateLimits:
    """Counts requests by name and says which are over their limit.

    Parameters
    ----------
    per_key, per_address : quotes per second of one key, and of one address over all keys.
    counts : counts over all edges; None: this edge alone.
    wall_s : the wall clock, epoch seconds.

    Attributes
    ----------
    refused : requests over their limit.
    failures : seconds in which Redis did not answer.

    Examples
    --------
    >>> limits = RateLimits(per_key=1, per_address=100, wall_s=lambda: 5.0)
    >>> [limits.over("k1", "127.0.0.1") for _ in range(10)][-1], limits.over("k1", "127.0.0.1")
    (None, 5)
    >>> limits.over("k2", "127.0.0.1") is None, limits.refused
    (True, 1)
    """

    def __init__(
        self,
        per_key: int,
        per_address: int,
        counts: Counts | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._of_key, self._of_address = per_key * WINDOW_S, per_address * WINDOW_S
        self._counts, self._wall_s = counts, wall_s
        self._new: dict[str, int] = {}
        self._windows: dict[str, _Window] = {}
        self._headers: dict[str, Headers] = {}
        self._window_ends_s = 0.0
        self.refused = 0
        self.failures = 0

    def over(self, key_id: str, address: str, cost: int = 1) -> int | None:
        """Count a request; return None, or the seconds after which it may be repeated if it is over a limit.

        Parameters
        ----------
        key_id : of the request's key; "" without a valid one, which counts against the address alone.
        cost : quotes that it asks for.
        """
        new = self._new
        names = ((f"key:{key_id}", self._of_key),) if key_id else ()
        for name, limit in (*names, (f"address:{address}", self._of_address)):
            used, window = new.get(name, 0), self._windows.get(name)
            # A request that alone is larger than the limit passes when nothing else was asked.
            if used + (cost if used else 1) > (limit if window is None else window.left):
                self.refused += 1
                return self._wait_s(window)
            if used or len(new) < MOST_NAMES:
                new[name] = used + cost
        return None

    def headers(self, key_id: str) -> Headers:
        """Return the headers that tell the holder of a key about its limit, as of the last second."""
        found = self._headers.get(key_id)
        if found is None:
            window = self._windows.get(f"key:{key_id}")
            left = self._of_key if window is None else window.left
            found = self._headers[key_id] = (
                (b"ratelimit-limit", b"%d" % self._of_key),
                (b"ratelimit-remaining", b"%d" % left),
                (b"ratelimit-reset", b"%d" % self._wait_s(window)),
            )
        return found

    async def synchronise(self) -> None:
        """Add the requests since the last call to those of all edges. Called every second.

        A name that used less than a hundredth of its limit waits for a later call, and ends with the window.
        """
        now_s = self._wall_s()
        new, self._new = self._new, {}
        limits = {name: self._of_key if name.startswith("key:") else self._of_address for name in new}
        counted = {name: count for name, count in new.items() if 100 * count >= limits[name]}
        if self._window_ends_s == self._end_s(now_s):
            self._new = {name: count for name, count in new.items() if name not in counted}
        self._window_ends_s = self._end_s(now_s)
        self._windows = {name: window for name, window in self._windows.items() if window.ends_s > now_s}
        found: Mapping[str, Left] = {}
        if self._counts is not None and counted:
            try:
                found = await self._counts.add(counted, limits)
            except REDIS_UNREACHABLE as error:
                if not self.failures:
                    log.warning("rate limits: Redis does not answer, each edge counts alone: %r", error)
                self.failures += 1
        for name, count in counted.items():
            if name in found:
                self._windows[name] = _Window(found[name].left, found[name].ends_s)
            else:
                window = self._windows.get(name) or _Window(limits[name], self._window_ends_s)
                self._windows[name] = window._replace(left=max(0, window.left - count))
        self._headers = {}

    def _end_s(self, now_s: float) -> float:
        return now_s - now_s % WINDOW_S + WINDOW_S

    def _wait_s(self, window: _Window | None) -> int:
        now_s = self._wall_s()
        ends_s = self._end_s(now_s) if window is None else window.ends_s
        return max(1, round(ends_s - now_s))
