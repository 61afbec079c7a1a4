"""RateLimits: how many quotes a key and an address may ask for, counted here and once a second in Redis.

A request costs two dictionary look-ups, a reading of the clock and no round trip. Every second the counts are
added to those of the other edges in Redis, which says how much is left of each limit. Between two such seconds an
edge gives at most what was left. Without Redis each edge counts alone, so that a failure of Redis refuses no
caller below the limit.

A window begins at a multiple of its length in wall time, at all edges, and with it every count begins at zero.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE

log = logging.getLogger(__name__)

WINDOW_S = 10
"""Length of a window: a limit per second is applied as ten times as much in ten seconds, so that bursts pass."""
BYTES_PER_QUOTE = 40
"""Bytes of a body that count as one quote: about the length of a listing's name in a list."""
MOST_NAMES = 100_000
"""Keys and addresses counted at the same time; beyond them new ones are not limited until the next second."""


class Left(Protocol):
    """What is left of a limit."""

    @property
    def left(self) -> int: ...


class Counts(Protocol):
    """Counts over all edges."""

    async def add(
        self, counts: Mapping[str, int], limits: Mapping[str, int], window_begins_s: int
    ) -> Mapping[str, Left]: ...


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
        self._keys = _Meter("key:", per_key * WINDOW_S)
        self._addresses = _Meter("address:", per_address * WINDOW_S)
        self._counts, self._wall_s = counts, wall_s
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
        self._begin_window()
        if (not key_id or self._keys.spend(key_id, cost)) and self._addresses.spend(address, cost):
            return None
        self.refused += 1
        return self._wait_s()

    def headers(self, key_id: str) -> Headers:
        """Return the header that tells the holder of a key what is left of its limit, as of the last second."""
        found = self._headers.get(key_id)
        if found is None:
            left = self._keys.left.get(key_id, self._keys.limit)
            found = self._headers[key_id] = ((b"ratelimit", b'"key";r=%d;t=%d' % (left, self._wait_s())),)
        return found

    def policy(self) -> Headers:
        """Return the header that states the limit of a key and the length of its window."""
        return ((b"ratelimit-policy", b'"key";q=%d;w=%d' % (self._keys.limit, WINDOW_S)),)

    async def synchronise(self) -> None:
        """Add the requests since the last call to those of all edges. Called every second.

        A name that used less than a hundredth of its limit waits for a later call, and ends with the window.
        """
        self._begin_window()
        ends_s = self._window_ends_s
        names = {
            meter.prefix + name: (meter, name, count)
            for meter in (self._keys, self._addresses)
            for name, count in meter.take().items()
        }
        found: Mapping[str, Left] = {}
        if self._counts is not None and names:
            try:
                found = await self._counts.add(
                    {full: count for full, (_, _, count) in names.items()},
                    {full: meter.limit for full, (meter, _, _) in names.items()},
                    int(ends_s) - WINDOW_S,
                )
            except REDIS_UNREACHABLE as error:
                if not self.failures:
                    log.warning("rate limits: Redis does not answer, each edge counts alone: %r", error)
                self.failures += 1
        self._begin_window()
        if self._window_ends_s != ends_s:
            # The window ended while Redis was asked.
            return
        for full, (meter, name, count) in names.items():
            alone = max(0, meter.left.get(name, meter.limit) - count)
            meter.left[name] = found[full].left if full in found else alone
        self._headers = {}

    def _begin_window(self) -> None:
        """Forget the counts of a window that has ended."""
        now_s = self._wall_s()
        if not self._window_ends_s - WINDOW_S <= now_s < self._window_ends_s:
            self._window_ends_s = now_s - now_s % WINDOW_S + WINDOW_S
            self._keys.clear()
            self._addresses.clear()
            self._headers = {}

    def _wait_s(self) -> int:
        return max(1, round(self._window_ends_s - self._wall_s()))


class _Meter:
    """Counts of the keys, or of the addresses.

    Attributes
    ----------
    prefix : of their names in Redis.
    limit : most quotes of one of them in a window.
    new : quotes since the last synchronisation.
    left : what was left then of those that used a hundredth of the limit in this window.
    """

    __slots__ = ("left", "limit", "new", "prefix")

    def __init__(self, prefix: str, limit: int) -> None:
        self.prefix, self.limit = prefix, limit
        self.new: dict[str, int] = {}
        self.left: dict[str, int] = {}

    def spend(self, name: str, cost: int) -> bool:
        """Count a request; return whether it is within the limit."""
        new = self.new
        used = new.get(name, 0)
        # A request that alone is larger than the limit passes when nothing else was asked.
        if used + (cost if used else 1) > self.left.get(name, self.limit):
            return False
        if used or len(new) < MOST_NAMES:
            new[name] = used + cost
        return True

    def take(self) -> dict[str, int]:
        """Return the counts that are synchronised; the others stay."""
        new = self.new
        counted = {name: count for name, count in new.items() if 100 * count >= self.limit}
        self.new = {name: count for name, count in new.items() if name not in counted}
        return counted

    def clear(self) -> None:
        """Forget all counts."""
        self.new, self.left = {}, {}
