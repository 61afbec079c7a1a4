"""The simulated market without its shoppers: reproducible bytes, valid records, rivals, stock, costs, restarts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest

from jobs.simulation.config import CostChange, MarketConfig, RivalMove
from jobs.simulation.market import Market, run_start_of
from jobs.simulation.prices import ListPrices
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS, kafka_key
from tests.jobs.simulation.market_builders import CALM, START_MS, a_market, a_run, records, tables


def test_same_seed_gives_the_same_bytes_whatever_the_steps() -> None:
    config: dict[str, Any] = {"dirty_share": 0.02, "short_stock_share": 0.5, "calendar": ()}
    whole = a_market(**config)
    expected = [*whole.opening(START_MS), *whole.step(START_MS, START_MS + 5 * MINUTE_MS, tables(whole))]
    cut = a_market(**config)
    prices, got, at = tables(cut), list(cut.opening(START_MS)), START_MS
    rng = np.random.default_rng(0)
    while at < START_MS + 5 * MINUTE_MS:
        end = min(START_MS + 5 * MINUTE_MS, at + int(rng.integers(1, 20_000)))
        got += cut.step(at, end, prices)
        at = end
    assert got == expected
    assert len(got) > 8_000


def test_products_of_the_default_market_come_in_sizes_with_one_list_price() -> None:
    config = MarketConfig()
    world = Market(config, 1)._world
    members: dict[tuple[str, str], list[int]] = {}
    for i, listing in enumerate(world.listings):
        members.setdefault((listing.market, world.price_group[i]), []).append(i)
    sizes = Counter(len(each) for each in members.values())
    grouped = sum(n for size, n in sizes.items() if size > 1)
    assert set(sizes) == {1, 2, 3, 4} and 0.25 <= grouped / sizes.total() <= 0.4
    for each in members.values():
        assert len({(int(world.list_minor[i]), world.category[i], world.role[i]) for i in each}) == 1
        assert len(each) == 1 or len({int(world.cost_minor[i]) for i in each}) > 1
        assert len({world.keys[i] for i in each}) == 1
    alone = Market(MarketConfig(grouped_share=0.0), 1)._world
    assert alone.price_group == tuple(listing.sku for listing in alone.listings)


def test_different_seeds_give_different_records() -> None:
    assert a_run(a_market(1), 1).records != a_run(a_market(2), 1).records


def test_every_record_satisfies_its_contract_and_has_no_other_field() -> None:
    market = a_market(skus=20, rival_jump_min=30, late_share=0.05, arms=("base", "test"), events_per_minute=600.0)
    opening = market.opening(START_MS)
    events = market.step(START_MS, START_MS + 75 * MINUTE_MS, tables(market))
    kinds: Counter[str] = Counter()
    ids: set[tuple[str, str]] = set()
    for at, _, topic, key, value in [*opening, *events]:
        record = orjson.loads(value)
        contract = TOPICS[topic]
        assert contract.validate(record, at) is None, record
        # The simulated shop tags no listing, and its visits keep no price.
        assert set(record) == {f.name for f in dataclasses.fields(contract.record)} - {"tags", "kept"}
        contract.record(**record)
        assert kafka_key(topic, record) == key
        assert record["event_time_ms"] <= at
        assert (topic, record["event_id"]) not in ids
        ids.add((topic, record["event_id"]))
        kinds[f"{topic} {record.get('kind', '')}".strip()] += 1
    assert {"quotes", "clicks search", "clicks view", "clicks cart", "clicks checkout"} <= set(kinds)
    assert {"orders placed", "orders paid", "orders cancelled", "offers", "stock", "catalog"} <= set(kinds)
    assert kinds["clicks search"] < kinds["quotes"] and kinds["orders placed"] < kinds["clicks cart"]


def test_events_are_in_order_and_within_their_step() -> None:
    events = a_run(a_market(), 3).records
    times = [at for at, *_ in events]
    assert times == sorted(times)
    assert times[0] >= START_MS and times[-1] < START_MS + 3 * MINUTE_MS


def test_true_elasticities_have_the_configured_mean_and_spread() -> None:
    truth = Market(MarketConfig(skus=2000), 4).truth
    assert np.mean(truth.elasticity) == pytest.approx(-2.0, abs=0.05)
    assert np.std(truth.elasticity[:2000]) == pytest.approx(0.4, abs=0.04)
    assert np.allclose((truth.shares * truth.elasticity_of).sum(axis=1), truth.elasticity)
    assert (truth.elasticity_of[:, 1] < truth.elasticity_of[:, 0]).all()


def test_true_elasticity_is_the_slope_of_the_purchase_probability() -> None:
    market = a_market()
    truth, n = market.truth, len(market.listings)
    every, h = np.arange(n), 1e-4
    usual = market._world.demand.offer
    for k in (0, 1):
        up, down = (
            truth.purchase_probability(every, np.full(n, k), market.list_minor * (1 + s), usual) for s in (h, -h)
        )
        slope = (np.log(up) - np.log(down)) / (np.log(1 + h) - np.log(1 - h))
        # Averaging over devices moves the slope by a few thousandths.
        assert np.allclose(slope, truth.elasticity_of[:, k], atol=0.02)


def test_most_list_prices_are_not_optimal() -> None:
    market = a_market(skus=40)
    off = []
    for i, p in enumerate(market.list_minor.tolist()):
        best = market.truth.best_price_minor(i, np.unique(np.round(p * np.linspace(0.6, 1.5, 91))).astype(int))
        off.append(best / p)
    assert np.mean(np.abs(np.log(off)) > 0.05) > 0.5
    assert 0.7 < np.median(off) < 1.3


def test_list_prices_are_between_floor_and_ceiling() -> None:
    world = Market(MarketConfig(), 1)._world
    assert (world.cost_minor < world.floor_minor).all()
    assert (world.floor_minor < world.list_minor).all() and (world.list_minor < world.ceiling_minor).all()
    assert set(world.role) == {"kvi", "traffic", "margin", "long_tail"}


def test_demo_schedules_shocks_and_rival_moves_within_three_hours() -> None:
    config = MarketConfig()
    assert len([s for s in config.shocks if 60 < s.at_min <= 180]) >= 5
    assert {s.factor for s in config.shocks} == {0.4, 2.0}
    assert len([m for m in config.rival_moves if 60 < m.at_min <= 180]) >= 4


def test_scheduled_rival_move_is_published_at_once_and_followers_track_our_price() -> None:
    moves = (RivalMove(5, "web-us-usd", 0, 0.85),)
    market = a_market(rival_moves=moves, rival_check_min=10, rival_jump_min=10**9, events_per_minute=30.0)
    i = market._world.ranked[0][0]
    sku, floor = market.listings[i].sku, market._rivals._floor[i]
    before = market._rivals.price[i].copy()
    offers = [
        o for o in records(a_run(market, 6), "offers")
        if (o["market"], o["sku"]) == ("web-us-usd", sku) and o["event_time_ms"] == START_MS + 5 * MINUTE_MS
    ]  # fmt: skip
    assert [o["price_minor"] for o in offers] == np.round(np.maximum(before * 0.85, floor)).tolist()

    dearer = tables(market, (1.2,))
    base = market._rivals.price.copy()
    market.step(START_MS + 6 * MINUTE_MS, START_MS + 120 * MINUTE_MS, dearer)
    style, now = market._rivals.style, market._rivals.price
    others = np.arange(len(market.listings)) != i
    assert (now[others][style[others] < 2] / base[others][style[others] < 2] > 1.1).mean() > 0.9
    assert (now[others][style[others] == 2] == base[others][style[others] == 2]).all()


def test_every_listing_reports_offers_and_stock_within_an_hour() -> None:
    market = a_market(events_per_minute=50.0)
    events = a_run(market, 60)
    for topic in ("offers", "stock"):
        assert len({(r["market"], r["sku"]) for r in records(events, topic)}) == len(market.listings)


def test_stock_runs_out_is_published_at_once_and_is_replenished() -> None:
    market = a_market(skus=4, short_stock_share=1.0, events_per_minute=100.0)
    opening = market.opening(START_MS)
    on_hand = {(r["market"], r["sku"]): r["on_hand"] for r in records(opening, "stock")}
    events = market.step(START_MS, START_MS + 600 * MINUTE_MS, ListPrices(market.list_minor))
    stock = sorted(records(events, "stock"), key=lambda r: r["event_time_ms"])
    assert min(r["on_hand"] for r in stock) == 0
    sold: Counter[tuple[str, str]] = Counter()
    received: Counter[tuple[str, str]] = Counter()
    last = dict(on_hand)
    for r in stock:
        key = (r["market"], r["sku"])
        received[key] += max(0, r["on_hand"] - last[key])
        last[key] = r["on_hand"]
    for o in records(events, "orders"):
        if o["kind"] == "placed":
            sold[o["market"], o["sku"]] += o["quantity"]
    assert all(sold[key] <= on_hand[key] + received[key] for key in on_hand)
    assert sum(received.values()) > 0
    out = next(r for r in stock if r["on_hand"] == 0)
    assert out["event_time_ms"] % MINUTE_MS, "a stock-out is published when it happens, not at the minute's start"


def test_cost_change_publishes_the_catalog_entry() -> None:
    market = a_market(cost_changes=(CostChange(2, "web-eu-eur", 0, 1.5),))
    i = market._world.ranked[1][0]
    before = int(market.truth.cost_minor[i])
    (entry,) = records(a_run(market, 4), "catalog")
    assert (entry["sku"], entry["cost_minor"]) == (market.listings[i].sku, round(before * 1.5))
    assert market.truth.cost_minor[i] == round(before * 1.5)


def test_restarted_market_opens_at_its_current_time() -> None:
    market = a_market()
    at = START_MS + 7 * MINUTE_MS + 12_345
    assert {r["event_time_ms"] for r in records(market.opening(at), "catalog")} == {at}
    events = market.step(at, at + MINUTE_MS, ListPrices(market.list_minor))
    assert min(when for when, *_ in events) >= at


def test_restarted_market_has_the_current_costs() -> None:
    market = a_market(cost_changes=(CostChange(2, "web-eu-eur", 0, 1.5),))
    i = market._world.ranked[1][0]
    before = int(market.truth.cost_minor[i])
    for _ in range(2):
        entry = records(market.opening(START_MS + 9 * MINUTE_MS), "catalog")[i]
        assert entry["cost_minor"] == market.truth.cost_minor[i] == round(before * 1.5)
    assert run_start_of(records(market.opening(START_MS), "catalog")[0]["event_id"]) is None


def test_steps_must_be_contiguous() -> None:
    market = a_market()
    prices = ListPrices(market.list_minor)
    with pytest.raises(ValueError, match="not open"):
        market.step(START_MS, START_MS + 1, prices)
    market.opening(START_MS)
    with pytest.raises(ValueError, match=f"is at {START_MS}"):
        market.step(START_MS + 5, START_MS + 10, prices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "probit"}, "family: expected one of"),
        ({"bot_share": 1.5}, "bot_share: expected a share"),
        ({"dirty_share": 1.0}, "dirty_share"),
        ({"skus": 0}, "at least one market and SKU"),
        ({"elasticity": -0.5}, "elasticity < -1"),
    ],
)
def test_invalid_configuration_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarketConfig(**changes)


def test_records_carry_pseudonyms() -> None:
    def hidden(name: str) -> str:
        return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()

    market = Market(MarketConfig(skus=5, **CALM), 1, START_MS, hidden)
    assert {len(q["customer"]) for q in records(a_run(market, 1), "quotes")} == {32}


def test_name_that_json_would_escape_is_refused() -> None:
    market = a_market()
    prices = ListPrices(market.list_minor)
    prices._ids = ['a"b'] * len(market.listings)
    with pytest.raises(ValueError, match="expected plain names"):
        a_run(market, 1, prices)
