"""The watcher's steps: gaps, restarts, resets, facts, groups, verdicts, and daily profiles in local time.

The file has over 300 lines because all tests share the same minutes and watchers. A split would duplicate these
helpers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.array_text import array_text
from features.bucket_logic import SnapshotError
from jobs.pricing.watcher import GroupWatcher, Minute, Watcher, WatcherSettings
from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.daily_profile import DailyProfiles
from jobs.pricing.watcher.detectors import score_of
from jobs.pricing.watcher.null_model import NullModel

TICK = 60_000
QUICK = WatcherSettings(
    false_alarm_every=1_000.0, warmup_ticks=5, hold_ticks=10, block_ticks=20, merge_gap_ticks=5
)


def a_minute(t: int, listings: int = 3, seed: int = 1, rate: float = 1.0, **fields: object) -> Minute:
    rng = np.random.default_rng(seed * 100_003 + t)
    orders = rng.poisson(rate, listings)
    sessions = rng.poisson(3.0 * rate, listings)
    values = {
        "orders": orders,
        "units": orders + rng.poisson(0.2 * orders),
        "searches_matured": sessions,
        "searches_abandoned": rng.binomial(sessions, 0.7),
    }
    return Minute.of(listings, t * TICK, **(values | fields))


def a_watcher(minutes: int = 0, listings: int = 3, chosen: WatcherSettings = QUICK) -> Watcher:
    watcher = Watcher(chosen, listings, share=1.0)
    for t in range(1, minutes + 1):
        watcher.step(a_minute(t, listings))
    return watcher


def initialized_watcher(listings: int = 1, rate: float = 1.0, **chosen: object) -> Watcher:
    known = replace(WatcherSettings(false_alarm_every=1_000.0, known_phi=1.0), **chosen)
    watcher = Watcher(known, listings, share=1.0)
    watcher.assume(
        range(listings),
        rate,
        worth_orders=1e12,
        buy_share=0.3,
        worth_sessions=1e12,
        unit_mean=1.2,
        unit_variance=0.2,
    )
    return watcher


def json_round_trip(watcher: Watcher) -> dict:
    data = orjson.dumps(watcher.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)
    assert b"null," not in data and b"null]" not in data
    return orjson.loads(data)


def have_equal_state(one: Watcher, other: Watcher) -> bool:
    option = orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(one.snapshot(), option=option) == orjson.dumps(other.snapshot(), option=option)


@given(evidence=st.floats(0.0, 1e290), threshold=st.floats(1.0, 1e9))
def test_score_exceeds_95_exactly_when_evidence_exceeds_the_threshold(evidence, threshold):
    assert (score_of(np.array([evidence]), threshold)[0] > 0.95) == (evidence > threshold)
    beyond = np.nextafter(threshold, np.inf)
    assert (score_of(np.array([threshold, beyond]), threshold) > 0.95).tolist() == [False, True]


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(1, 89), seed=st.integers(0, 9), missing=st.integers(0, 8))
def test_restart_after_any_minute_changes_no_verdict(cut, seed, missing):
    uninterrupted, restarted = a_watcher(), a_watcher()
    for t in range(1, 90):
        if 40 < t <= 40 + missing:
            continue
        minute = a_minute(t, seed=seed, rate=1.0 if t < 60 else 4.0, in_stock=[1.0, float(t % 7 > 0), 0.5])
        if t % 11 == 0:
            uninterrupted.add_fact(1, "rivals")
            restarted.add_fact(1, "rivals")
        one, other = uninterrupted.step(minute), restarted.step(minute)
        assert one.evidence.tobytes() == other.evidence.tobytes()
        assert one.triggered.tolist() == other.triggered.tolist()
        if t == cut:
            saved = json_round_trip(restarted)
            restarted = Watcher(QUICK, 0, share=1.0)
            restarted.restore(saved)
    assert have_equal_state(uninterrupted, restarted)


def test_snapshot_of_another_version_is_refused():
    watcher = a_watcher()
    with pytest.raises(SnapshotError, match="expected snapshot version 1, got 7"):
        watcher.restore(watcher.snapshot() | {"v": 7})
    groups = GroupWatcher(QUICK, [0, 0])
    with pytest.raises(SnapshotError, match="group watcher"):
        groups.restore({"v": None})


@pytest.mark.parametrize("absence", [{"present": False}, {"in_stock": 0.0}], ids=["missing batch", "stock-out"])
def test_gap_of_500_minutes_keeps_the_evidence_bit_for_bit(absence):
    watcher = a_watcher(70)
    before = watcher.detectors.state["evidence"].tobytes()
    for t in range(71, 571):
        verdict = watcher.step(a_minute(t, **absence))
        assert not verdict.running.any()
    assert watcher.detectors.state["evidence"].tobytes() == before


def test_short_gap_is_merged_into_the_next_update():
    separate, merged = initialized_watcher(), initialized_watcher()
    rows = [a_minute(t, listings=1) for t in range(1, 5)]
    separate.step(rows[0])
    merged.step(rows[0])
    evidence = merged.detectors.state["evidence"].copy()
    for minute in rows[1:]:
        seen = separate.null.observe(minute)
        assert seen.observation.expected_orders[0] == pytest.approx(1.0, rel=1e-6)
    names = ("orders", "units", "searches_matured", "searches_abandoned")
    total = {name: sum(getattr(row, name) for row in rows[1:]) for name in names}
    last = Minute.of(1, rows[-1].window_end_ms, **total)
    merged.null.skip(2, last)
    seen = merged.null.observe(last)
    assert seen.observation.expected_orders[0] == pytest.approx(3.0, rel=1e-6)
    merged.null.state["gap_exposure"][:] = 0.0
    merged.null.state["gap_plan"][:] = 0.0
    merged.null.state["gap_ticks"][:] = 0.0
    verdict = merged.step(last)
    assert verdict.running[0] and (merged.detectors.state["evidence"] != evidence).any()


def test_gap_longer_than_merge_gap_ticks_is_discarded():
    watcher = a_watcher(70)
    before = watcher.detectors.state["evidence"].tobytes()
    verdict = watcher.step(a_minute(70 + QUICK.merge_gap_ticks + 2))
    assert not verdict.running.any()
    assert watcher.detectors.state["evidence"].tobytes() == before
    assert watcher.step(a_minute(70 + QUICK.merge_gap_ticks + 3)).running.all()


def test_mean_of_evidence_minus_starts_does_not_grow_without_a_change():
    watcher = initialized_watcher(listings=2_000, false_alarm_every=1e12)
    for t in range(1, 61):
        verdict = watcher.step(a_minute(t, listings=2_000))
    started = watcher.detectors.state["started"]
    assert started == pytest.approx(np.full(2_000, started[0]), rel=0.2)
    excess = verdict.evidence - started
    assert excess.mean() < 3.0 * excess.std() / np.sqrt(2_000)
    assert (started <= 0.75 * 60 + 1e-9).all()


def test_trigger_resets_the_evidence_pauses_and_learns_the_new_level():
    watcher = initialized_watcher(rate=2.0)
    t = 0
    while True:
        t += 1
        verdict = watcher.step(a_minute(t, listings=1, rate=6.0))
        if verdict.triggered[0]:
            break
    assert t < 60 and verdict.score[0] > 0.95
    assert verdict.effect[0] > 1 and verdict.observed[0] > verdict.expected[0] > 0
    details = verdict.cause_details(0)
    assert details["signal"] in verdict.signals and details["threshold"] == 1_000.0
    assert sum(verdict.parts_of(0).values()) == pytest.approx(verdict.evidence[0])
    assert watcher.detectors.state["evidence"].sum() == 0.0
    assert 3.5 < watcher.levels[0] < 8.0
    runs = [watcher.step(a_minute(t + k, listings=1, rate=6.0)).running[0] for k in range(1, 62)]
    assert runs == [False] * 60 + [True]


def test_own_price_change_is_not_evidence():
    watcher = initialized_watcher()
    for t in range(1, 200):
        factor = 0.5 if t > 20 else 1.0
        minute = a_minute(t, listings=1, rate=factor, price_factor=factor)
        sessions = np.array([3.0])
        minute = replace(minute, searches_matured=sessions, searches_abandoned=sessions * (1 - 0.3 * factor))
        assert not watcher.step(minute).triggered[0]


def test_time_without_orders_is_not_evidence():
    watcher = Watcher(replace(QUICK, known_phi=1.0), 1, share=1.0)
    watcher.assume([0], orders_per_minute=1e-6, worth_orders=1e9)
    for t in range(1, 1_501):
        verdict = watcher.step(Minute.of(1, t * TICK))
    assert verdict.evidence[0] < 10.0


def test_start_mass_of_facts_is_bounded_and_goes_to_velocity_and_abandonment():
    watcher = initialized_watcher(full_mass_orders=0.01)
    watcher.step(a_minute(1, listings=1))
    watcher.step(a_minute(2, listings=1))
    before = watcher.detectors.state["started"][0]
    watcher.add_fact(0, "rivals", rate=1e-9)
    watcher.add_fact(0, "events", rate=1e-9)
    assert watcher.facts.waiting[0] == pytest.approx(100.0)
    watcher.step(replace(a_minute(3, listings=1), searches_matured=np.array([3.0])))
    assert watcher.detectors.state["started"][0] - before == pytest.approx(100.0 + 0.75)
    watcher.add_fact(0, "rivals", rate=1e-9)
    assert watcher.facts.waiting[0] == 0.0
    with pytest.raises(ValueError, match="a fact is one of rivals, events"):
        watcher.add_fact(0, "velocity")
    with pytest.raises(ValueError, match="call grow"):
        watcher.add_fact(9, "rivals")


def test_frequent_facts_add_little_start_mass():
    watcher = a_watcher()
    masses = []
    for t in range(1, 200):
        watcher.add_fact(0, "rivals")
        masses.append(watcher.facts.waiting[0])
        watcher.step(a_minute(t))
    assert sum(watcher.facts.state["rivals"]) > 100
    assert masses[-1] <= 0.2


def test_added_listings_start_empty_and_do_not_affect_the_others():
    watcher, other = a_watcher(30), a_watcher(30)
    assert watcher.grow(2, categories=[1, 0]) == 3
    wide = a_minute(31, listings=5)
    fields = (
        "orders",
        "units",
        "price_factor",
        "searches_matured",
        "searches_abandoned",
        "plan_units",
        "in_stock",
        "utc_offset",
    )
    narrow = replace(wide, **{name: getattr(wide, name)[:3] for name in fields}, present=wide.present[:3])
    one, two = watcher.step(wide), other.step(narrow)
    assert one.evidence[:3].tolist() == two.evidence.tolist()
    assert not one.running[3:].any()
    with pytest.raises(ValueError, match="expected 2 categories"):
        watcher.grow(2, categories=[1])


def test_promise_is_in_force_after_the_first_full_block():
    fresh = a_watcher(10)
    assert not fresh.step(a_minute(11)).promise_in_force.any()
    assert a_watcher(40).step(a_minute(41)).promise_in_force.all()


def test_common_shift_of_slow_sellers_triggers_their_group_first():
    chosen = WatcherSettings(false_alarm_every=1_000.0, known_phi=1.0)
    listings = 30
    own = Watcher(chosen, listings, share=1.0)
    own.assume(range(listings), 0.1, worth_orders=1e12, worth_sessions=0.0)
    group = GroupWatcher(chosen, [0] * listings, share=1.0)
    group.watcher.assume([0], 3.0, worth_orders=1e12)
    for t in range(1, 400):
        rng = np.random.default_rng(t)
        minute = Minute.of(listings, t * TICK, orders=rng.poisson(0.2, listings))
        levels = own.levels.copy()
        if group.step(minute, levels).triggered[0]:
            break
        assert not own.step(minute).triggered.all()
    assert t < 100
    saved = orjson.loads(orjson.dumps(group.snapshot(), default=array_text))
    restored = GroupWatcher(chosen)
    restored.restore(saved)
    assert restored.members(0).tolist() == list(range(listings))


def test_group_of_one_listing_has_no_evidence():
    groups = GroupWatcher(QUICK, [0, 1, 1])
    for t in range(1, 60):
        verdict = groups.step(a_minute(t), np.ones(3))
    assert verdict.evidence[0] == 0.0 and not verdict.running[0]
    assert verdict.running[1]


def test_step_keeps_its_input_and_is_deterministic():
    minute = a_minute(1)
    before = minute.orders.tobytes() + minute.units.tobytes() + minute.plan_units.tobytes()
    a_watcher().step(minute)
    assert before == minute.orders.tobytes() + minute.units.tobytes() + minute.plan_units.tobytes()
    assert have_equal_state(a_watcher(30), a_watcher(30))


def test_invalid_minute_is_refused():
    watcher = a_watcher(2)
    with pytest.raises(ValueError, match="must be above"):
        watcher.step(a_minute(2))
    with pytest.raises(ValueError, match="expected 3 listings"):
        watcher.step(a_minute(3, listings=2))
    with pytest.raises(ValueError, match=r"minute.orders: expected finite"):
        watcher.step(a_minute(3, orders=[1.0, np.nan, 0.0]))
    with pytest.raises(ValueError, match="price_factor must be > 0"):
        watcher.step(a_minute(3, price_factor=0.0))


def test_settings_that_exceed_the_budget_are_refused():
    with pytest.raises(ValueError, match="weights must be"):
        Watcher(WatcherSettings(weights={"velocity": 0.9}))
    with pytest.raises(ValueError, match="own_share"):
        WatcherSettings(own_share=0.9)
    with pytest.raises(ValueError, match="share of the false-alarm budget"):
        WatcherSettings().threshold(0.0)


def test_profiles_of_several_minutes_are_bit_identical_to_each_minutes_profile() -> None:
    random = np.random.default_rng(3)
    model = NullModel(WatcherSettings(), 0)
    model.grow([i % 5 for i in range(26)])
    model.state["profile"][:] = random.normal(size=model.state["profile"].shape)
    model.daily.waves[:] = random.normal(size=model.daily.waves.shape)
    ends = [minute * 60_000 for minute in range(1, 20)]
    offset = np.repeat([0.0, 60.0], 13)
    several = model._profiles(ends, offset)
    assert (several == np.stack([model.profile(end, offset) for end in ends])).all()


# -- local time ---------------------------------------------------------------------------------


def a_daily_minute(t: int, listings: int = 2, **fields: object) -> Minute:
    """Return a minute of listings that sell mostly in the evening; the day starts at t = 0."""
    rate = 0.2 + 1.8 * (t % 1440 > 1080)
    return a_minute(t, listings, rate=rate, **fields)


def in_local_time(minute: Minute, ticks: int, utc_offset: object) -> Minute:
    offset = np.array(np.broadcast_to(np.asarray(utc_offset, float), minute.orders.shape))
    return replace(minute, window_end_ms=minute.window_end_ms + ticks * TICK, utc_offset=offset)


def after_a_day(utc_offset: object, ticks: int = 0) -> Watcher:
    watcher = a_watcher(listings=2)
    for t in range(1, 1440 + 5):
        watcher.step(in_local_time(a_daily_minute(t), ticks, utc_offset))
    return watcher


def test_daily_profile_follows_the_markets_local_time():
    in_utc, in_berlin = after_a_day(0.0), after_a_day(60.0, ticks=-60)
    for hour in range(24):
        end = (2 * 1440 + 60 * hour) * TICK
        expected = in_utc.null.profile(end)
        assert in_berlin.null.profile(end - 60 * TICK, np.full(2, 60.0)).tolist() == expected.tolist()
        # After a change of the clocks the same local hour is an hour later in UTC.
        assert in_berlin.null.profile(end, np.zeros(2)).tolist() == expected.tolist()


def test_listings_of_two_markets_have_profiles_in_their_own_local_time():
    watcher = a_watcher(listings=0)
    watcher.grow(2, [0, 1])
    for t in range(1, 1440 + 5):
        here, there = a_daily_minute(t, 2), a_daily_minute(t + 360, 2)
        orders = np.array([here.orders[0], there.orders[1]])
        watcher.step(Minute.of(2, t * TICK, orders=orders, utc_offset=[0.0, 360.0]))
    offset = np.array([0.0, 360.0])
    morning, evening = ((2 * 1440 + 60 * hour) * TICK for hour in (6, 21))
    profile = {at: watcher.null.profile(at, offset) for at in (morning, evening, morning + 9 * 60 * TICK)}
    assert profile[evening][0] > 4 * profile[morning][0]
    assert profile[morning + 9 * 60 * TICK][1] > 4 * profile[morning][1], "21:00 is six hours earlier in UTC"


def test_shifted_profile_has_the_same_values_in_local_time():
    watcher = after_a_day(0.0)
    orders = watcher.null.daily.orders[0].tolist()
    before = [watcher.null.profile((2 * 1440 + 60 * hour) * TICK) for hour in range(24)]
    offset = np.full(2, -300.0)
    watcher.null.shift(offset)
    after = [watcher.null.profile((2 * 1440 + 60 * hour) * TICK, offset) for hour in range(24)]
    np.testing.assert_allclose(after, before, rtol=1e-9)
    assert watcher.null.daily.orders[0].tolist() == orders[5:] + orders[:5]


def test_restored_empty_columns_keep_their_rows():
    columns = Columns({"profile": (2, 0.5)}, listings=0)
    columns.restore({"profile": []}, 0)
    columns.grow(1)
    assert columns["profile"].tolist() == [[0.5], [0.5]]


def test_daily_profile_discounts_orders_and_exposure_equally():
    daily = DailyProfiles(prior_orders=1.0, keep=0.5)
    daily.grow(1)
    one, none = np.ones(1), np.zeros(1)
    for minute_of_day in (1, 2):
        daily.learn(minute_of_day, np.zeros(1, np.intp), 4 * one, one, one, none, none)
    assert (daily.orders[0, 0], daily.exposure[0, 0]) == (6.0, 1.5)


def test_a_detector_without_a_row_in_a_snapshot_starts_with_no_evidence() -> None:
    watcher = a_watcher(minutes=30)
    saved = watcher.detectors.snapshot()
    saved["columns"]["evidence"] = saved["columns"]["evidence"][:-4]
    again = a_watcher()
    again.detectors.restore(saved, 3)
    evidence = again.detectors.state["evidence"]
    assert np.array_equal(evidence[:-4], saved["columns"]["evidence"]) and not evidence[-4:].any()
