"""The ticker: sends ticks to the inputs, so that watermarks advance on quiet streams and every minute closes.

``python -m jobs.ticker`` runs beside the jobs; :mod:`schemas.ticks` decides which tick is due when. A tick with
timestamp t is sent when the Clock shows t + guard. Records with timestamps before t that are still on their way (a
producer's batch, a busy machine) then arrive before the watermark that t causes. The guard is wall time, because
delays are: 0.25 s, which at speed 60 is 15 s of the run.

After a short stall the ticker sends the ticks that were due meanwhile, with their own timestamps. They are not
late: without them the tick topic's watermark did not advance. After a start, or a stall longer than
``--catch-up``, it continues from the present: the minutes between are gaps, which the jobs handle.

Ticks are the only guaranteed progress of event time: demand_job waits for every partition, however long it is
silent. So partitions are counted again every minute, since event time would stop in a new partition without ticks.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.connectors.kafka.publisher import Publisher, ensure_topics
from jobs.runtime.clock import Clock
from jobs.runtime.metrics import Metrics
from jobs.runtime.settings import Settings
from schemas.ticks import PERIOD_MS, DueTick, closing_ticks, due_ticks
from schemas.time_units import MINUTE_MS
from schemas.topics import INPUTS

log = logging.getLogger("ticker")

GUARD_S = 0.25
CATCH_UP_S = 20.0
COUNT_EVERY_S = 60.0
"""Wall seconds between two counts of the partitions."""


class TickSchedule:
    """What has been sent and what is due, without Kafka and without waiting.

    Parameters
    ----------
    start_ms : event time after which ticks are due.
    buckets, partitions, period_ms, lateness_at_least_ms : as in :func:`schemas.ticks.due_ticks`; ``partitions``
        may grow later.
    guard_ms : event time by which a tick is delayed.
    catch_up_ms : longest stall whose ticks are sent late; a longer one is a gap without ticks.

    Attributes
    ----------
    gaps : stalls longer than ``catch_up_ms``.

    Examples
    --------
    >>> schedule = TickSchedule(0, buckets=1, partitions={"ticks": 1}, guard_ms=5_000, catch_up_ms=600_000)
    >>> schedule.next_ms
    15000
    >>> [tick.at_ms for tick in schedule.advance(75_000)], schedule.advance(75_000)
    ([10000, 70000], [])
    >>> schedule.advance(10_000_000), schedule.gaps
    ([], 1)
    """

    def __init__(
        self,
        start_ms: int,
        *,
        buckets: int,
        partitions: Mapping[str, int],
        guard_ms: int = 0,
        catch_up_ms: int = 600_000,
        period_ms: int = PERIOD_MS,
        lateness_at_least_ms: int = 0,
    ) -> None:
        self._sent_to, self._guard_ms, self._catch_up_ms = start_ms, guard_ms, catch_up_ms
        self._shape: dict[str, Any] = {
            "buckets": buckets,
            "partitions": partitions,
            "period_ms": period_ms,
            "lateness_at_least_ms": lateness_at_least_ms,
        }
        self.gaps = 0

    def advance(self, now_ms: int) -> list[DueTick]:
        """Return the ticks that are due now, each once."""
        upto = now_ms - self._guard_ms
        if upto - self._sent_to > self._catch_up_ms:
            self._sent_to = upto
            self.gaps += 1
        if upto <= self._sent_to:
            return []
        ticks = due_ticks(self._sent_to, upto, **self._shape)
        self._sent_to = upto
        return ticks

    @property
    def next_ms(self) -> int:
        """Run time at which the next tick is due, guard included."""
        # Every minute has at least one tick of every kind.
        return due_ticks(self._sent_to, self._sent_to + MINUTE_MS, **self._shape)[0].at_ms + self._guard_ms


def run(
    schedule: TickSchedule,
    clock: Clock,
    send: Callable[[Sequence[DueTick]], None],
    stop: threading.Event,
    until_ms: int | None = None,
) -> None:
    """Send ticks as the Clock passes their times, until ``stop`` is set or ``until_ms`` has passed."""
    while not stop.is_set():
        now = clock.now_ms()
        ticks = schedule.advance(now)
        if ticks:
            send(ticks)
        if until_ms is not None and now >= until_ms:
            return
        stop.wait(max(0.0, clock.wall_seconds_until(schedule.next_ms)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; return 0 after a clean stop."""
    parser = argparse.ArgumentParser(prog="python -m jobs.ticker", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--until", type=int, metavar="MS", help="stop at this run time, after ticks that close every minute"
    )
    parser.add_argument(
        "--period-ms",
        type=int,
        help=f"event time between a partition's ticks (default {PERIOD_MS}; a minute on a clock above speed 6)",
    )
    parser.add_argument("--guard", type=float, default=GUARD_S, help="wall seconds by which a tick is delayed")
    parser.add_argument(
        "--catch-up", type=float, default=CATCH_UP_S, help="longest stall whose ticks are sent late, wall seconds"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings.load()
    clock = settings.run_clock
    metrics = Metrics("ticker")
    sent = metrics.counter("ticks", "Ticks sent, by topic", ["topic"])
    gaps = metrics.gauge("gaps", "count", "Stalls longer than --catch-up")
    metrics.start(settings.metrics_port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    ensure_topics(settings.kafka, [topic.name for topic in INPUTS])
    with Publisher(settings.kafka, **{"linger.ms": 0}) as publisher:

        def count_partitions() -> dict[str, int]:
            return {topic.name: publisher.partitions(topic.topic, again=True) for topic in INPUTS}

        partitions, counted_s = count_partitions(), time.monotonic()
        schedule = TickSchedule(
            clock.now_ms(),
            buckets=settings.buckets,
            partitions=partitions,
            guard_ms=round(args.guard * 1000 * clock.speed),
            catch_up_ms=max(120_000, round(args.catch_up * 1000 * clock.speed)),
            # One tick a minute closes the minute; each tick costs a fetch of its partition.
            period_ms=args.period_ms or (PERIOD_MS if clock.speed <= 6 else MINUTE_MS),
            lateness_at_least_ms=settings.lateness_at_least_ms,
        )
        log.info("a tick per minute for %d buckets; partitions %s", settings.buckets, partitions)

        def send(ticks: Sequence[DueTick]) -> None:
            nonlocal counted_s
            if time.monotonic() - counted_s > COUNT_EVERY_S:
                partitions.update(count_partitions())
                counted_s = time.monotonic()
            for tick in ticks:
                # A compacted topic takes no record without a key.
                key = str(tick.bucket) if tick.topic == "ticks" else f"tick-{tick.partition}"
                publisher.send(
                    tick.topic, tick.record(), timestamp_ms=tick.at_ms, partition=tick.partition, key=key
                )
                sent.labels(tick.topic).inc()
            # Raises if the broker did not take the ticks: a visible restart is better than a silent loss.
            publisher.flush(30.0)
            gaps.set(schedule.gaps)

        run(schedule, clock, send, stop, args.until)
        if args.until is not None and not stop.is_set():
            late = settings.lateness_at_least_ms
            send(
                closing_ticks(
                    args.until, buckets=settings.buckets, partitions=partitions, lateness_at_least_ms=late
                )
            )
    log.info("stopped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
