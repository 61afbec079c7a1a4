"""RateCounts: how much of its limit each name has used, added up over all edges in Redis (the library `limits`).

Its keys have a lifetime of their own in Redis, by wall time: they bound traffic and belong to no run's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from jobs.connectors.redis.price_tables import client_options

TIMEOUT_S = 0.5


class Used(NamedTuple):
    """What is left of a name's limit in its window."""

    left: int


class RateCounts:
    """Counts of requests in fixed windows, whose beginnings the caller names.

    The library begins a window with the first count of its name. A name therefore has the beginning of its window,
    so that all edges add up the same one.

    Parameters
    ----------
    url : Redis URL.
    window_s : length of a window, wall seconds.
    """

    def __init__(self, url: str, window_s: int) -> None:
        timeouts = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        options = {k: v for k, v in (client_options() | timeouts).items() if k != "decode_responses"}
        storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="rate-limits",
            **options,  # type: ignore[arg-type]
        )
        self._limiter, self._window_s = FixedWindowRateLimiter(storage), window_s

    async def add(
        self, counts: Mapping[str, int], limits: Mapping[str, int], window_begins_s: int
    ) -> dict[str, Used]:
        """Add requests per name in one window; return what is left of each name's limit.

        Parameters
        ----------
        limits : most requests of a name in a window.
        window_begins_s : beginning of the window, epoch seconds.

        Raises
        ------
        redis.exceptions.RedisError, OSError
            If Redis does not answer.
        """
        found, window = {}, str(window_begins_s)
        for name, count in counts.items():
            item = RateLimitItemPerSecond(limits[name], self._window_s)
            await self._limiter.hit(item, name, window, cost=count)
            stats = await self._limiter.get_window_stats(item, name, window)
            found[name] = Used(max(0, stats.remaining))
        return found
