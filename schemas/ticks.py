"""When a tick is due: the heartbeat that closes minutes where nothing happens.

A source's watermark is the highest Kafka timestamp it has seen, less the topic's lateness L. So the
window that ends at minute m closes once every partition holds a record stamped m + L or later. A tick
at the full minute would come L too early and leave the window open for one more minute. Therefore

    bucket ticks      one per bucket and minute, on `ticks`, at  m + L                              (1)
    partition ticks   in every partition of every other input, at every multiple of the period,
                      shifted by L mod period                                                       (2)

so that some tick is stamped m + L in every partition, and each minute closes as early as it can. One
partition tick a minute would do for that; the default of six makes quiet partitions follow when one
deployment's lateness is not the one written here. Bucket ticks stay one a minute: they are what makes
a batch of a quiet bucket, exactly one.

A tick's event time is its Kafka timestamp; it is sent a guard later (:mod:`jobs.ticker`), so that a
record on its way when the clock passed m + L is not overtaken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

PERIOD_MS = 10_000


class DueTick(NamedTuple):
    """One tick: when (event time and Kafka timestamp), on which topic (short name), where, for which bucket."""

    at_ms: int
    topic: str
    partition: int
    bucket: int

    def record(self) -> dict[str, Any]:
        """The value on the wire."""
        return {"event_time_ms": self.at_ms, "bucket": self.bucket, "tick": True}


def _times(after_ms: int, upto_ms: int, period_ms: int, phase_ms: int) -> range:
    """Times t ≡ phase (mod period) in (after, upto]."""
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
    """Every tick due in (after_ms, upto_ms], in the order to send them.

    Parameters
    ----------
    after_ms, upto_ms : event times; a tick at ``after_ms`` is not due again, so calls join without gap.
    buckets : buckets of the deployment.
    partitions : partitions by short name of each input; ``ticks`` takes bucket ticks only.
    period_ms : between two ticks of a partition; divides a minute.
    lateness_at_least_ms : what this run gives every topic at least (``Settings.lateness_at_least_ms``).

    Raises
    ------
    ValueError
        If the period does not divide a minute: (2) would miss m + L.

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
    """The last ticks of a finite input: they close every minute that begins before ``end_ms``.

    Each is stamped its topic's lateness past the end of that minute (the minute after it opens, and is
    not closed: nobody asks for it).

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
