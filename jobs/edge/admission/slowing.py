"""What the quote port does with callers that are found probing: it notifies, slows them, and counts.

The request of a public key gets an Inquiry (:mod:`jobs.edge.admission.probing`) in its scope, as ``inquiry``. It
counts what is asked, and decides when the default price is answered. A backend's request gets none.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from jobs.edge.admission.probing import (
    PATTERN_WORDS,
    Caller,
    Episode,
    Inquiry,
    Pattern,
    ProbingDetector,
    network_of,
)
from jobs.runtime.metrics import Metrics
from jobs.runtime.problems import Scope

log = logging.getLogger(__name__)


class Delays:
    """Delays requests, some at once.

    Parameters
    ----------
    delay_s : seconds that each is delayed.
    most : most requests delayed at the same time.
    sleep : waits some seconds.

    Attributes
    ----------
    delayed, refused : requests delayed, and requests refused because ``most`` were delayed already.
    """

    def __init__(
        self, delay_s: float, most: int, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._delay_s, self._most, self._sleep = delay_s, most, sleep
        self._now = 0
        self.delayed = 0
        self.refused = 0

    async def delay(self) -> int | None:
        """Delay a request; return None, or without a delay the seconds after which it may be repeated."""
        if self._now >= self._most:
            self.refused += 1
            return max(1, math.ceil(self._delay_s))
        self.delayed += 1
        self._now += 1
        try:
            await self._sleep(self._delay_s)
        finally:
            self._now -= 1
        return None


def examination(
    detector: ProbingDetector, delays: Delays, wall_ms: Callable[[], int], exempt: Collection[str] = ()
) -> Callable[[Scope], Awaitable[int | None]]:
    """Return the examination of a public key's request, after which the request is answered or refused.

    It puts the request's Inquiry into its scope and delays it while its caller is probing. It returns None, or the
    seconds after which the request may be repeated if too many are delayed.

    Parameters
    ----------
    wall_ms : the wall clock.
    exempt : paths whose requests are not examined.
    """

    async def examine(scope: Scope) -> int | None:
        if scope["path"] in exempt:
            return None
        client = scope.get("client")
        caller, now_ms = Caller(scope["key_id"], network_of(client[0] if client else "")), wall_ms()
        if detector.is_probing(caller, now_ms):
            wait_s = await delays.delay()
            if wait_s is not None:
                return wait_s
            now_ms = wall_ms()
        scope["inquiry"] = Inquiry(detector, caller, now_ms)
        return None

    return examine


def log_episode(episode: Episode, window_s: float) -> None:
    """Write a warning when an episode begins. It names the key by its id and the network, and no customer."""
    caller = episode.caller
    log.warning(
        "probing: key %s at %s asked for more than %d %s within %.0f s; it gets the default price, slowly, until "
        "it asks for less. If the shop's servers use this key, run `walras keys set-kind %s backend`; else see "
        "Probing in infra/docs/operations.md",
        caller.key_id,
        caller.network,
        episode.threshold,
        PATTERN_WORDS[episode.pattern],
        window_s,
        caller.key_id,
    )


def add_probing_gauges(
    metrics: Metrics, detector: ProbingDetector, delays: Delays, wall_ms: Callable[[], int]
) -> None:
    """Register the gauges of probing, read when ``/metrics`` is read."""
    gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("probing_callers", "Callers that are probing now", lambda: detector.probing(wall_ms())),
        ("probing_remembered", "Public keys' callers whose requests are remembered", lambda: len(detector)),
        ("probing_entries", "Listings, customers and prices remembered of them", lambda: detector.entries),
        ("probing_default_answers", "Quotes answered with the default price", lambda: detector.default_answers),
        ("probing_delayed", "Requests delayed", lambda: delays.delayed),
        ("probing_refused", "Requests refused because too many were delayed", lambda: delays.refused),
    )
    for what, meaning, value in gauges:
        metrics.gauge(what, "count", meaning).set_function(value)
    episodes = metrics.gauge("probing_episodes", "count", "Episodes of probing, by pattern", ["pattern"])
    for pattern in Pattern:
        episodes.labels(pattern.value).set_function(partial(detector.began.__getitem__, pattern))
