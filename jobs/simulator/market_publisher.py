"""Sends the records of a simulated market to their topics, in step with the run's Clock."""

from __future__ import annotations

from collections.abc import Callable

from jobs.runtime.clock import Clock
from jobs.simulation.market import Events, Market
from jobs.simulator.live_prices import LivePrices
from schemas.time_units import MINUTE_MS

MAX_STEP_MS = MINUTE_MS
"""Most run time that one step simulates."""


class MarketPublisher:
    """Steps a market up to the Clock and sends its records.

    Parameters
    ----------
    market : the market.
    prices : what its shoppers are shown.
    clock : the run's Clock; a record's Kafka timestamp is the Clock's time when it is sent.
    send : sends one record: topic's short name, key, value, Kafka timestamp in ms.

    Attributes
    ----------
    at_ms : run time up to which the market has been stepped.
    sent : records sent, by topic's short name.
    """

    def __init__(
        self, market: Market, prices: LivePrices, clock: Clock, send: Callable[[str, str, bytes, int], None]
    ) -> None:
        self._market, self._prices, self._clock, self._send = market, prices, clock, send
        self.at_ms = clock.now_ms()
        self.sent: dict[str, int] = {}

    def publish_opening(self) -> None:
        """Send catalog, stock, calendar and offers as they are now."""
        self._publish(self._market.opening(self.at_ms))

    def advance(self) -> int:
        """Step up to the Clock, at most :data:`MAX_STEP_MS`; return the run time still behind it, ms."""
        end = min(self._clock.now_ms(), self.at_ms + MAX_STEP_MS)
        if end > self.at_ms:
            events = self._market.step(self.at_ms, end, self._prices)
            self.at_ms = end
            self._publish(events)
            self._prices.schedule_segment_reads(self._market.drain_buyers())
        return self._clock.now_ms() - self.at_ms

    def _publish(self, events: Events) -> None:
        now, send = self._clock.now_ms(), self._send
        for _, _, topic, key, value in events:
            send(topic, key, value, now)
        for topic, n in events.counts().items():
            self.sent[topic] = self.sent.get(topic, 0) + n
