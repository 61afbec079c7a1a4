"""Days, hours and weekdays of markets when daylight saving changes."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from features.market_time import MarketTime

HOUR = 3_600_000
ZONES = {"eu": "Europe/Berlin", "us": "America/New_York", "in": "Asia/Kolkata"}
CHANGES = [("eu", "2026-03-29", 23), ("eu", "2026-10-25", 25), ("us", "2026-03-08", 23), ("us", "2026-11-01", 25)]


def midnight_of(market: str, day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(ZONES[market])).timestamp() * 1000)


@pytest.mark.parametrize(("market", "day", "hours"), CHANGES)
def test_day_has_23_or_25_hours_when_daylight_saving_changes(market: str, day: str, hours: int) -> None:
    times, start = MarketTime(ZONES), midnight_of(market, day)
    today = times.day(market, start)
    assert today.ends_ms == start + hours * HOUR
    assert times.day(market, today.ends_ms - 1) == today
    assert times.day(market, today.ends_ms).number == today.number + 1
    assert times.day(market, start - 1).ends_ms == start


@pytest.mark.parametrize(("market", "day", "hours"), CHANGES)
def test_hours_and_weekdays_are_local_when_daylight_saving_changes(market: str, day: str, hours: int) -> None:
    times, start = MarketTime(ZONES), midnight_of(market, day)
    for at in range(start - HOUR, start + (hours + 1) * HOUR, HOUR // 4):
        local = datetime.fromtimestamp(at / 1000, ZoneInfo(ZONES[market]))
        assert times.hour(market, at)[:2] == (local.hour, local.weekday())
        assert times.at(market, at)[1:3] == (local.weekday(), local.hour)


def test_hours_have_no_gap() -> None:
    times, at = MarketTime(ZONES), midnight_of("eu", "2026-10-25")
    hours = []
    while at < midnight_of("eu", "2026-10-26"):
        hours.append(times.hour("eu", at).hour)
        at = times.hour("eu", at).ends_ms
    assert hours == [0, 1, 2, 2, *range(3, 24)]


def test_hour_starts_at_the_half_hour_for_a_half_hour_offset() -> None:
    times, start = MarketTime(ZONES), midnight_of("in", "2026-05-01")
    assert start % HOUR == HOUR // 2
    assert times.hour("in", start).ends_ms == start + HOUR
    assert times.hour("in", start - 1).hour == 23


def test_market_without_a_zone_uses_utc() -> None:
    times = MarketTime(ZONES)
    assert times.day("elsewhere", 5 * 24 * HOUR) == (5, 6 * 24 * HOUR)
    assert times.hour("elsewhere", 3 * HOUR) == (3, 3, 4 * HOUR)
    assert times.at("elsewhere", 3 * HOUR)[1:3] == (3, 3)


def test_day_starts_at_one_when_daylight_saving_skips_midnight() -> None:
    times = MarketTime({"br": "America/Sao_Paulo"})
    change = int(datetime(2017, 10, 15, 3, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)
    assert times.day("br", change - 1).ends_ms == change
    assert times.day("br", change).ends_ms == change + 23 * HOUR
