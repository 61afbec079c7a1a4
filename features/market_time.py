"""Local time of markets: days, hours and weekdays in the IANA time zones of the policy.

Features, pace limits and the hourly profile of requests all use :class:`MarketTime`, so a market's day has one
definition. A market without a zone uses UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from features.windows import LocalTime, local_time
from schemas.time_units import HOUR_MS

_EPOCH = date(1970, 1, 1).toordinal()
_QUARTER_MS = 900_000
"""UTC offsets change at quarter hours only."""


class MarketDay(NamedTuple):
    """Day of a market: days from 1970-01-01 to its local date, and the first millisecond after it."""

    number: int
    ends_ms: int


class LocalHour(NamedTuple):
    """Hour of a market: hour of the day (0 to 23), weekday (Monday 0), and the first millisecond after it."""

    hour: int
    weekday: int
    ends_ms: int


class MarketTime:
    """Local time of all markets.

    Parameters
    ----------
    time_zones : IANA zone per market; UTC where absent.

    Examples
    --------
    Daylight saving time starts on 2026-03-29 in Berlin, so this day has 23 hours.

    >>> times = MarketTime({"web-eu-eur": "Europe/Berlin"})
    >>> midnight = 1_774_738_800_000
    >>> day = times.day("web-eu-eur", midnight)
    >>> (day.ends_ms - midnight) / 3_600_000
    23.0
    >>> times.hour("web-eu-eur", midnight).hour, times.hour("elsewhere", midnight).hour
    (0, 23)
    """

    def __init__(self, time_zones: Mapping[str, str] | None = None) -> None:
        self._zones: dict[str, tzinfo] = {market: ZoneInfo(name) for market, name in (time_zones or {}).items()}

    def zone(self, market: str) -> tzinfo:
        """Return the market's time zone."""
        return self._zones.get(market, UTC)

    def at(self, market: str, at_ms: int) -> LocalTime:
        """Return a time in the market's calendar."""
        return local_time(at_ms, self.zone(market))

    def day(self, market: str, at_ms: int) -> MarketDay:
        """Return the market's day at a time; it has 23 or 25 hours when daylight saving changes."""
        zone = self.zone(market)
        today = datetime.fromtimestamp(at_ms / 1000, zone).date()
        ends = datetime.combine(today + timedelta(days=1), time.min, zone)
        return MarketDay(today.toordinal() - _EPOCH, round(ends.timestamp() * 1000))

    def offset_ms(self, market: str, at_ms: int) -> int:
        """Return the market's offset from UTC at a time."""
        zone = self._zones.get(market)
        return 0 if zone is None else _offset_ms(zone, at_ms // _QUARTER_MS)

    def hour(self, market: str, at_ms: int) -> LocalHour:
        """Return the market's hour at a time."""
        offset_ms = self.offset_ms(market, at_ms)
        hours = (at_ms + offset_ms) // HOUR_MS
        # 1970-01-01 was a Thursday.
        return LocalHour(hours % 24, (hours // 24 + 3) % 7, (hours + 1) * HOUR_MS - offset_ms)


@lru_cache(maxsize=16_384)
def _offset_ms(zone: tzinfo, quarter: int) -> int:
    offset = datetime.fromtimestamp(quarter * _QUARTER_MS / 1000, zone).utcoffset()
    # The type allows None, which only a time without a zone returns.
    return round((offset or timedelta()).total_seconds() * 1000)
