"""Local time of the markets: days of changes, and daily profiles of snapshots."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.policy import Policy
from schemas.records.operator_events import Command
from tests.jobs.pricing.bucket_builders import DAY_MS, NOON_MS, a_running_logic, decision_of
from tests.jobs.pricing.pricing_builders import MINUTE_MS, a_catalog_entry, a_fact

TOKYO = {"local_time": {"time_zones": {"web-us-usd": "Asia/Tokyo"}}}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
    ],
)
def test_day_of_changes_is_the_markets_day_when_the_clocks_change(zone: str, day: str, hours: int) -> None:
    midnight = round(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    logic = RepricingLogic(Policy.from_dict({"local_time": {"time_zones": {"web-us-usd": zone}}}))
    start = midnight - MINUTE_MS
    list(logic.on_batch(Batch(0, start, catalog=(a_catalog_entry(at_ms=start),), now_ms=start)))

    def ends(at_ms: int, offset: int) -> int:
        command = Command("cmd", at_ms, "acme", "settle", "ann")
        decision = decision_of(list(logic.on_fact(a_fact("commands", command, at_ms, offset))))
        return int(decision["inputs"]["current"]["day_ends_ms"])

    last = midnight + hours * 60 * MINUTE_MS - 1
    assert [ends(midnight - 1, 1), ends(midnight, 2), ends(last, 3)] == [midnight, last + 1, last + 1]
    assert ends(last + 1, 4) == last + 1 + DAY_MS


def active_hours(logic: RepricingLogic) -> list[int]:
    """Return the hours of the watcher's daily profile that have exposures."""
    return np.flatnonzero(logic._watch._watcher.null.daily.exposure[0]).tolist()


def a_logic_restored_from_utc() -> tuple[RepricingLogic, RepricingLogic]:
    """Return a logic in UTC, and one in Tokyo that took a snapshot of it without the mark of local time."""
    before, _ = a_running_logic()
    saved = orjson.loads(orjson.dumps(before.snapshot(), default=array_text))
    del saved["watch"]["local_time"]
    after = RepricingLogic(Policy.from_dict(TOKYO))
    after.restore(saved)
    return before, after


def test_daily_profiles_of_a_snapshot_in_utc_are_moved_to_local_time() -> None:
    before, after = a_logic_restored_from_utc()
    seen = active_hours(before)
    assert seen and set(active_hours(after)) == {(hour + 9) % 24 for hour in seen}


def test_daily_profiles_in_local_time_are_not_moved_again() -> None:
    _, after = a_logic_restored_from_utc()
    again = RepricingLogic(Policy.from_dict(TOKYO))
    again.restore(orjson.loads(orjson.dumps(after.snapshot(), default=array_text)))
    assert active_hours(again) == active_hours(after)
    assert list(again.on_batch(Batch(0, NOON_MS + MINUTE_MS, now_ms=NOON_MS + MINUTE_MS))) == []


def test_decision_recorded_with_the_former_keys_of_a_day_recomputes() -> None:
    decision = orjson.loads(orjson.dumps(decision_of(a_running_logic()[1]), option=orjson.OPT_SERIALIZE_NUMPY))
    policy = decision["inputs"]["policy"] = Policy.from_dict(TOKYO).to_dict()
    del policy["local_time"], policy["segments"]["memory_days"]
    policy["limits"]["day_offset_minutes"] = {"web-us-usd": -300}
    policy["features"]["time_zones"] = {"web-us-usd": "America/New_York"}
    assert recompute(decision, {}) == decision["result"]
