"""Schedule of ticks: records that advance the watermark of inputs without traffic.

A source's watermark is the highest Kafka timestamp read so far minus the topic's lateness L. The window that ends
at minute m therefore closes when every partition holds a record with a timestamp of m + L or later. A tick at m
would be L too early and would leave the window open for another minute. Therefore

    bucket ticks      one per bucket and minute, on `ticks`, at  m + L                              (1)
    partition ticks   in every partition of every other input, at every multiple of the period,
                      shifted by L mod period                                                       (2)

so that every partition has a tick at m + L and each minute closes as early as possible. One partition tick per
minute would be enough for that. The default of six also advances quiet partitions when a deployment's lateness
differs from the one declared here. There is one bucket tick per minute because each bucket tick produces one
batch of a bucket without events.

The event time of a tick is its Kafka timestamp. :mod:`jobs.ticker` sends a tick some time after its event time,
so that records in flight at m + L are not made late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

PERIOD_MS = 10_000


class DueTick(NamedTuple):
    """One tick to send.

    ``at_ms`` is its event time and Kafka timestamp, ``topic`` the short name of its topic. ``bucket`` is -1 for a
    partition tick.
    """

    at_ms: int
    topic: str
    partition: int
    bucket: int

    def record(self) -> dict[str, Any]:
        """Return the value of the Kafka record."""
        return {"event_time_ms": self.at_ms, "bucket": self.bucket, "tick": True}


def _times(after_ms: int, upto_ms: int, period_ms: int, phase_ms: int) -> range:
    """Return the times t ≡ phase (mod period) in (after, upto]."""
    first = (after_ms - phase_ms) // period_ms + 1
    last = (upto_ms - phase_ms) // period_ms
    return range(first * period_ms + phase_ms, last * period_ms + phase_ms + 1, period_ms)


def due_ticks(
    after_ms: int,
    upto_ms: int,
    *,
    buckets: int,
    partitions: Mapping[str, int],
    period_ms: int = PERIOD_MS,
    lateness_at_least_ms: int = 0,
) -> list[DueTick]:
    """Return all ticks due in (after_ms, upto_ms], in the order in which to send them.

    Parameters
    ----------
    after_ms, upto_ms : event times. A tick at ``after_ms`` is not due again, so consecutive calls leave no gap.
    buckets : number of buckets of the deployment.
    partitions : number of partitions by short name of each input; ``ticks`` gets bucket ticks only.
    period_ms : time between two ticks of a partition; a divisor of one minute.
    lateness_at_least_ms : lower bound of the lateness of all topics (``Settings.lateness_at_least_ms``).

    Raises
    ------
    ValueError
        If the period does not divide one minute; (2) would then have no tick at m + L.

    Examples
    --------
    >>> two = due_ticks(0, 60_000, buckets=1, partitions={"clicks": 1, "ticks": 1}, period_ms=60_000)
    >>> [(t.at_ms, t.topic, t.bucket) for t in two]
    [(10000, 'clicks', -1), (10000, 'ticks', 0)]
    """
    if period_ms <= 0 or MINUTE_MS % period_ms:
        raise ValueError(f"period_ms: expected a divisor of {MINUTE_MS}, got {period_ms}")

    def lateness(name: str) -> int:
        return max(TOPICS[name].lateness_ms, lateness_at_least_ms)

    found = [
        DueTick(t, "ticks", 0, bucket)
        for t in _times(after_ms, upto_ms, MINUTE_MS, lateness("ticks") % MINUTE_MS)
        for bucket in range(buckets)
    ]
    for name in sorted(partitions):
        if name != "ticks":
            times = _times(after_ms, upto_ms, period_ms, lateness(name) % period_ms)
            found += [DueTick(t, name, partition, -1) for t in times for partition in range(partitions[name])]
    return sorted(found)


def closing_ticks(
    end_ms: int, *, buckets: int, partitions: Mapping[str, int], lateness_at_least_ms: int = 0
) -> list[DueTick]:
    """Return the last ticks of a finite input: they close every minute that begins before ``end_ms``.

    The timestamp of each tick is the end of that minute plus the topic's lateness. The tick opens a later minute,
    which stays open.

    Examples
    --------
    >>> [(t.at_ms, t.topic) for t in closing_ticks(60_001, buckets=1, partitions={"clicks": 1, "ticks": 1})]
    [(130000, 'clicks'), (130000, 'ticks')]
    """
    minute = -(-end_ms // MINUTE_MS) * MINUTE_MS
    late = max(TOPICS["ticks"].lateness_ms, lateness_at_least_ms)
    found = [DueTick(minute + late, "ticks", 0, bucket) for bucket in range(buckets)]
    for name in sorted(partitions):
        if name != "ticks":
            at_ms = minute + max(TOPICS[name].lateness_ms, lateness_at_least_ms)
            found += [DueTick(at_ms, name, partition, -1) for partition in range(partitions[name])]
    return sorted(found)
