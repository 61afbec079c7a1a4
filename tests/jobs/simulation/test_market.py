"""The simulated market: valid records, the same bytes, and shoppers who do what the truth says."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from jobs.simulation.config import CostChange, MarketConfig, RivalMove, Shock
from jobs.simulation.market import Events, Market, run_start_of
from jobs.simulation.prices import ExternalQuote, ListPrices, Prices, Quoted, TablePrices, Visits
from jobs.simulation.world import events_per_visit
from schemas.events import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.topics import TOPICS, kafka_key

START_MS = 1_767_571_200_000  # Monday 2026-01-05, 00:00 UTC
MINUTE = 60_000
CALM: dict[str, Any] = {
    "shocks": (),
    "rival_moves": (),
    "cost_changes": (),
    "calendar": (),
    "season_amplitude": 0.0,
}


def a_market(seed: int = 1, **changes: Any) -> Market:
    return Market(MarketConfig(**({"skus": 10, "events_per_minute": 2000.0} | CALM | changes)), seed, START_MS)


def a_run(market: Market, minutes: int, prices: Prices | None = None) -> Events:
    market.opening(START_MS)
    return market.step(START_MS, START_MS + minutes * MINUTE, prices or ListPrices(market.list_minor))


def records(events: Events, topic: str) -> list[dict[str, Any]]:
    return [orjson.loads(value) for _, _, name, _, value in events if name == topic]


def tables(market: Market, factors: Sequence[float] = (0.95, 1.0, 1.05), expires_ms: int = 2**60) -> TablePrices:
    prices = TablePrices(market.listings, market.list_minor)
    made = {}
    for listing, list_minor in zip(market.listings, market.list_minor.tolist(), strict=True):
        steps = sorted({round(list_minor * f) for f in factors})
        some = PriceList.from_propensities(steps, [1 / len(steps)] * len(steps))
        made[listing] = PriceTable(
            listing, listing.sku, 5, f"t-{listing.sku}", START_MS, expires_ms, "USD",
            {"base": {"all": some, "myopic": some}}, list_minor, None, "why", "d",
        )  # fmt: skip
    assert prices.take(made) == len(made)
    return prices


def test_the_same_seed_gives_the_same_bytes_however_the_time_is_cut() -> None:
    config: dict[str, Any] = {"dirty_share": 0.02, "short_stock_share": 0.5, "calendar": ()}
    whole = a_market(**config)
    expected = [*whole.opening(START_MS), *whole.step(START_MS, START_MS + 5 * MINUTE, tables(whole))]
    cut = a_market(**config)
    prices, got, at = tables(cut), list(cut.opening(START_MS)), START_MS
    rng = np.random.default_rng(0)
    while at < START_MS + 5 * MINUTE:
        end = min(START_MS + 5 * MINUTE, at + int(rng.integers(1, 20_000)))
        got += cut.step(at, end, prices)
        at = end
    assert got == expected
    assert len(got) > 8_000


def test_another_seed_gives_another_market() -> None:
    assert a_run(a_market(1), 1).records != a_run(a_market(2), 1).records


def test_every_record_is_what_its_contract_asks_for_and_nothing_else() -> None:
    market = a_market(skus=20, rival_jump_min=30, late_share=0.05, arms=("base", "test"), events_per_minute=600.0)
    opening = market.opening(START_MS)
    events = market.step(START_MS, START_MS + 75 * MINUTE, tables(market))
    kinds: Counter[str] = Counter()
    ids: set[tuple[str, str]] = set()
    for at, _, topic, key, value in [*opening, *events]:
        record = orjson.loads(value)
        contract = TOPICS[topic]
        assert contract.judge(record, at) is None, record
        assert set(record) == {f.name for f in dataclasses.fields(contract.record)}
        contract.record(**record)
        assert kafka_key(topic, record) == key
        assert record["event_time_ms"] <= at
        assert (topic, record["event_id"]) not in ids
        ids.add((topic, record["event_id"]))
        kinds[f"{topic} {record.get('kind', '')}".strip()] += 1
    assert {"quotes", "clicks search", "clicks view", "clicks cart", "clicks checkout"} <= set(kinds)
    assert {"orders placed", "orders paid", "orders cancelled", "offers", "stock", "catalog"} <= set(kinds)
    assert kinds["clicks search"] < kinds["quotes"] and kinds["orders placed"] < kinds["clicks cart"]


def test_events_arrive_in_order_and_within_their_step() -> None:
    events = a_run(a_market(), 3).records
    times = [at for at, *_ in events]
    assert times == sorted(times)
    assert times[0] >= START_MS and times[-1] < START_MS + 3 * MINUTE


def test_a_week_of_rates_is_what_was_asked_for() -> None:
    config = MarketConfig(**(CALM | {"season_amplitude": 0.25}))
    market = Market(config, 1, START_MS)
    per_minute = [market.truth.requests_per_minute(START_MS + h * 3_600_000).sum() for h in range(7 * 24)]
    people = 1 - config.bot_share
    assert np.mean(per_minute) / people * events_per_visit(config) == pytest.approx(5000, rel=1e-3)
    assert max(per_minute) > 1.3 * min(per_minute)


def test_the_events_that_come_are_as_many_as_expected() -> None:
    market = a_market(events_per_minute=6_000.0)
    market.opening(START_MS)
    prices = ListPrices(market.list_minor)
    market.step(START_MS, START_MS + 3 * MINUTE, prices)
    assert len(market.step(START_MS + 3 * MINUTE, START_MS + 8 * MINUTE, prices)) == pytest.approx(
        30_000, rel=0.05
    )


def test_top_sellers_of_the_demo_sell_one_to_five_a_minute() -> None:
    market = Market(MarketConfig(**CALM), 1, START_MS)
    truth = market.truth
    chance = sum(truth.shares[:, k] * truth.conversion[:, k] for k in (0, 1))
    per_minute = truth.requests_per_minute() * chance
    assert all(1.0 < per_minute[m * 200 : (m + 1) * 200].max() < 6.0 for m in range(3))
    assert np.median(per_minute) < 0.2


def test_true_elasticities_are_spread_as_stated_and_their_mean_over_segments_is_the_listings() -> None:
    truth = Market(MarketConfig(skus=2000), 4).truth
    assert np.mean(truth.elasticity) == pytest.approx(-2.0, abs=0.05)
    assert np.std(truth.elasticity[:2000]) == pytest.approx(0.4, abs=0.04)
    assert np.allclose((truth.shares * truth.elasticity_of).sum(axis=1), truth.elasticity)
    assert (truth.elasticity_of[:, 1] < truth.elasticity_of[:, 0]).all()


def test_the_stated_elasticity_is_the_slope_of_the_true_demand() -> None:
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


def test_shoppers_buy_as_often_as_the_truth_says_at_every_price() -> None:
    market = a_market(skus=2, rivals=3, rival_check_min=10**9, rival_jump_min=10**9, short_stock_share=0.0)
    events = a_run(market, 20, tables(market, (0.8, 1.25)))
    # Orders of the last visits are still on their way.
    quotes = [q for q in records(events, "quotes") if q["event_time_ms"] < START_MS + 18 * MINUTE and not q["bot"]]
    counted = {q["event_id"] for q in quotes}
    orders = [o for o in records(events, "orders") if o["kind"] == "placed" and o["quote_id"] in counted]
    sold = Counter((o["market"], o["sku"], o["quoted_price_minor"]) for o in orders)
    shown = Counter((q["market"], q["sku"], q["price_minor"]) for q in quotes)
    low, high = [0.0, 0], [0.0, 0]
    for (place, sku, price), n in shown.items():
        i = market.listings.index(Listing("demo", place, sku))
        chance = 0.0
        for k in (0, 1):
            one = market.truth.purchase_probability(np.array(i), np.array(k), np.array(price))
            chance += market.truth.shares[i, k] * float(one)
        part = low if price < market.list_minor[i] else high
        part[0] += n * chance
        part[1] += sold[place, sku, price]
    for mean, count in (low, high):
        assert abs(count - mean) < 4 * np.sqrt(mean)
    assert low[1] > 2 * high[1]


def test_the_pick_is_the_contracts() -> None:
    market = a_market()
    prices = tables(market)
    by_listing = {t.listing: t for t in prices.tables if t is not None}
    for quote in records(a_run(market, 2, prices), "quotes"):
        table = by_listing[Listing(quote["tenant"], quote["market"], quote["sku"])]
        assert (quote["price_minor"], quote["propensity"]) == table.pick(quote["customer"], quote["segment"])
        assert (quote["table_id"], quote["version"], quote["source"]) == (table.table_id, 5, "table")


def test_past_its_end_a_table_gives_way_to_the_list_price() -> None:
    market = a_market()
    quotes = records(a_run(market, 2, tables(market, expires_ms=START_MS + MINUTE)), "quotes")
    assert {q["source"] for q in quotes if q["event_time_ms"] < START_MS + MINUTE} == {"table"}
    late = [q for q in quotes if q["event_time_ms"] >= START_MS + MINUTE]
    assert {(q["source"], q["propensity"], q["table_id"] == f"list-{q['price_minor']}") for q in late} == {
        ("list", 1.0, True)
    }


def test_an_older_table_does_not_replace_a_newer_one() -> None:
    market = a_market()
    prices = tables(market)
    held = prices.tables[0]
    assert held is not None
    assert prices.take({held.listing: dataclasses.replace(held, version=4)}) == 0
    assert prices.take({held.listing: dataclasses.replace(held, version=6)}) == 1
    assert prices.take({Listing("x", "y", "z"): held}) == 0


def test_a_known_customer_is_of_the_looked_up_segment_and_a_newcomer_of_the_default() -> None:
    market = a_market(customers=50)
    prices = ListPrices(market.list_minor)
    first = records(a_run(market, 1, prices), "quotes")
    assert {q["segment"] for q in first} == {"all"}
    regular = Counter(q["customer"] for q in first if not q["bot"]).most_common(1)[0][0]
    prices.known[regular] = "strategic"
    more = market.step(START_MS + MINUTE, START_MS + 2 * MINUTE, prices)
    assert {q["segment"] for q in records(more, "quotes") if q["customer"] == regular} == {"strategic"}


def test_segments_can_be_told_by_how_often_they_buy_above_the_rivals_price() -> None:
    market = a_market(skus=40, short_stock_share=0.0, customers=1000)
    events = a_run(market, 40)
    above: dict[bool, list[bool]] = {True: [], False: []}
    myopic_below = market._strategic_from
    names = {plain: c for c, (plain, _) in market._names.items()}
    for order in records(events, "orders"):
        if order["kind"] == "placed":
            place, number = divmod(names[order["customer"]], 1000)
            above[bool(number < myopic_below[place])].append(order["quoted_price_minor"] > order["offer_minor"])
    assert np.mean(above[True]) > 0.35
    assert np.mean(above[False]) < 0.2


def test_bots_look_and_never_buy() -> None:
    events = a_run(a_market(bot_share=0.3), 4)
    bots = {q["session"] for q in records(events, "quotes") if q["bot"]}
    assert len(bots) > 300
    assert not bots & {o["session"] for o in records(events, "orders")}
    assert {c["kind"] for c in records(events, "clicks") if c["session"] in bots} == {"search", "view"}
    assert {c["bot"] for c in records(events, "clicks") if c["session"] in bots} == {True}


def test_an_order_repeats_its_quote() -> None:
    events = a_run(a_market(), 15)
    quotes = {q["event_id"]: q for q in records(events, "quotes")}
    placed = [o for o in records(events, "orders") if o["kind"] == "placed"]
    assert len(placed) > 200
    for order in placed:
        quote = quotes[order["quote_id"]]
        assert order["quoted_price_minor"] == quote["price_minor"]
        assert order["offer_minor"] == quote["offer_minor"]
        assert order["price_paid_minor"] == order["quoted_price_minor"] - order["discount_minor"]
        assert all(order[f] == quote[f] for f in ("customer", "session", "segment", "arm", "sku", "currency"))
    assert any(o["discount_minor"] for o in placed)


class SomeAnsweredElsewhere(ListPrices):
    """Every third visit got its price from somebody who logs it."""

    def quote(self, visits: Visits) -> Quoted:
        """List price, a third of them dearer by one and logged elsewhere."""
        out = super().quote(visits)
        for j in range(0, len(visits.listing), 3):
            out.price_minor[j] += 1
            out.external[j] = ExternalQuote(
                f"edge-{visits.session[j]}", visits.customer[j], "s9", "myopic", "base"
            )
        return out


def test_a_quote_that_was_logged_elsewhere_is_not_logged_twice() -> None:
    market = a_market()
    events = a_run(market, 20, SomeAnsweredElsewhere(market.list_minor))
    assert not [q for q in records(events, "quotes") if q["session"] == "s9"]
    orders = [o for o in records(events, "orders") if o["session"] == "s9"]
    assert orders and all(o["quote_id"].startswith("edge-") and o["segment"] == "myopic" for o in orders)
    assert [c for c in records(events, "clicks") if c["session"] == "s9"]


def test_a_name_that_json_would_escape_is_refused() -> None:
    market = a_market()
    prices = ListPrices(market.list_minor)
    prices._ids = ['a"b'] * len(market.listings)
    with pytest.raises(ValueError, match="expected plain names"):
        a_run(market, 1, prices)


def test_a_shock_moves_arrivals_or_readiness_from_its_minute_on() -> None:
    shocks = (
        Shock(10, "web-us-usd", 0, 2.0, "arrivals"),
        Shock(10, "web-us-usd", 1, 0.4, "readiness", until_min=20),
    )
    market = a_market(shocks=shocks)
    first, second = (market._world.ranked[0][r] for r in (0, 1))
    before, after = (market.truth.requests_per_minute(START_MS + m * MINUTE) for m in (9, 10))
    assert after[first] == pytest.approx(2 * before[first])
    assert after[second] == before[second]

    def chance(minute: int) -> float:
        price = market.list_minor[second]
        at = START_MS + minute * MINUTE
        return float(market.truth.purchase_probability(np.array(second), np.array(0), np.array(price), at_ms=at))

    assert chance(10) == pytest.approx(0.4 * chance(9), rel=0.05)
    assert chance(20) == chance(9)


def test_the_demos_schedule_moves_demand_and_rivals_within_three_hours_of_the_start() -> None:
    config = MarketConfig()
    assert len([s for s in config.shocks if 60 < s.at_min <= 180]) >= 5
    assert {s.factor for s in config.shocks} == {0.4, 2.0}
    assert len([m for m in config.rival_moves if 60 < m.at_min <= 180]) >= 4


def test_a_rivals_move_is_seen_at_once_and_followers_answer_to_our_price() -> None:
    moves = (RivalMove(5, "web-us-usd", 0, 0.85),)
    market = a_market(rival_moves=moves, rival_check_min=10, rival_jump_min=10**9, events_per_minute=30.0)
    i = market._world.ranked[0][0]
    sku, floor = market.listings[i].sku, market._rivals._floor[i]
    before = market._rivals.price[i].copy()
    offers = [
        o for o in records(a_run(market, 6), "offers")
        if (o["market"], o["sku"]) == ("web-us-usd", sku) and o["event_time_ms"] == START_MS + 5 * MINUTE
    ]  # fmt: skip
    assert [o["price_minor"] for o in offers] == np.round(np.maximum(before * 0.85, floor)).tolist()

    dearer = tables(market, (1.2,))
    base = market._rivals.price.copy()
    market.step(START_MS + 6 * MINUTE, START_MS + 120 * MINUTE, dearer)
    style, now = market._rivals.style, market._rivals.price
    others = np.arange(len(market.listings)) != i
    assert (now[others][style[others] < 2] / base[others][style[others] < 2] > 1.1).mean() > 0.9
    assert (now[others][style[others] == 2] == base[others][style[others] == 2]).all()


def test_every_listings_offers_and_stock_are_seen_at_least_once_an_hour() -> None:
    market = a_market(events_per_minute=50.0)
    events = a_run(market, 60)
    for topic in ("offers", "stock"):
        assert len({(r["market"], r["sku"]) for r in records(events, topic)}) == len(market.listings)


def test_stock_runs_out_is_said_at_once_and_comes_back() -> None:
    market = a_market(skus=4, short_stock_share=1.0, events_per_minute=100.0)
    opening = market.opening(START_MS)
    on_hand = {(r["market"], r["sku"]): r["on_hand"] for r in records(opening, "stock")}
    events = market.step(START_MS, START_MS + 600 * MINUTE, ListPrices(market.list_minor))
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
    assert out["event_time_ms"] % MINUTE, "a stock-out is said when it happens, not at the minute's start"


def test_a_new_cost_sends_the_catalog_again() -> None:
    market = a_market(cost_changes=(CostChange(2, "web-eu-eur", 0, 1.5),))
    i = market._world.ranked[1][0]
    before = int(market.truth.cost_minor[i])
    (entry,) = records(a_run(market, 4), "catalog")
    assert (entry["sku"], entry["cost_minor"]) == (market.listings[i].sku, round(before * 1.5))
    assert market.truth.cost_minor[i] == round(before * 1.5)


def test_most_list_prices_are_not_the_best_price() -> None:
    market = a_market(skus=40)
    off = []
    for i, p in enumerate(market.list_minor.tolist()):
        best = market.truth.best_price_minor(i, np.unique(np.round(p * np.linspace(0.6, 1.5, 91))).astype(int))
        off.append(best / p)
    assert np.mean(np.abs(np.log(off)) > 0.05) > 0.5
    assert 0.7 < np.median(off) < 1.3


def test_floor_and_margin_leave_room_under_every_list_price() -> None:
    world = Market(MarketConfig(), 1)._world
    assert (world.cost_minor < world.floor_minor).all()
    assert (world.floor_minor < world.list_minor).all() and (world.list_minor < world.ceiling_minor).all()
    assert set(world.role) == {"kvi", "traffic", "margin", "long_tail"}


def test_a_market_taken_up_again_opens_at_the_time_it_is() -> None:
    market = a_market()
    at = START_MS + 7 * MINUTE + 12_345
    assert {r["event_time_ms"] for r in records(market.opening(at), "catalog")} == {at}
    events = market.step(at, at + MINUTE, ListPrices(market.list_minor))
    assert min(when for when, *_ in events) >= at


def test_a_market_taken_up_again_knows_the_costs_of_the_time() -> None:
    market = a_market(cost_changes=(CostChange(2, "web-eu-eur", 0, 1.5),))
    i = market._world.ranked[1][0]
    before = int(market.truth.cost_minor[i])
    for _ in range(2):
        entry = records(market.opening(START_MS + 9 * MINUTE), "catalog")[i]
        assert entry["cost_minor"] == market.truth.cost_minor[i] == round(before * 1.5)
    assert run_start_of(records(market.opening(START_MS), "catalog")[0]["event_id"]) is None


def test_steps_must_join() -> None:
    market = a_market()
    prices = ListPrices(market.list_minor)
    with pytest.raises(ValueError, match="not open"):
        market.step(START_MS, START_MS + 1, prices)
    market.opening(START_MS)
    with pytest.raises(ValueError, match=f"is at {START_MS}"):
        market.step(START_MS + 5, START_MS + 10, prices)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "probit"}, "family: expected one of"),
        ({"bot_share": 1.5}, "bot_share: expected a share"),
        ({"dirty_share": 1.0}, "dirty_share"),
        ({"skus": 0}, "at least one market and SKU"),
        ({"elasticity": -0.5}, "elasticity < -1"),
    ],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MarketConfig(**changes)


@pytest.mark.parametrize("family", ["mixture", "step", "reference", "stockpiling"])
def test_every_family_runs_a_market(family: str) -> None:
    market = a_market(family=family)
    placed = [o for o in records(a_run(market, 8, tables(market, (0.9,))), "orders") if o["kind"] == "placed"]
    assert len(placed) > 40
    if family == "stockpiling":
        assert np.mean([o["quantity"] for o in placed]) > 2


def test_pseudonyms_are_what_stands_on_the_wire() -> None:
    def hidden(name: str) -> str:
        return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()

    market = Market(MarketConfig(skus=5, **CALM), 1, START_MS, hidden)
    assert {len(q["customer"]) for q in records(a_run(market, 1), "quotes")} == {32}


def test_fifty_thousand_events_a_second_on_one_core() -> None:
    market = Market(MarketConfig(events_per_minute=40_000.0), 1, START_MS)
    prices = tables(market)
    market.opening(START_MS)
    began = time.process_time()
    events = market.step(START_MS, START_MS + MINUTE, prices)
    assert len(events) / (time.process_time() - began) > 50_000
