"""Simulated shoppers: how many visit, what they are shown, how often they buy, and what they leave behind."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from jobs.simulation.config import MarketConfig, Shock
from jobs.simulation.market import Market
from jobs.simulation.prices import ExternalQuote, ListPrices, Quoted, Visits
from jobs.simulation.world import events_per_visit
from schemas.listings import Listing
from schemas.time_units import HOUR_MS, MINUTE_MS
from tests.jobs.simulation.market_builders import CALM, START_MS, a_market, a_run, records, tables


def test_weekly_mean_rate_is_the_configured_one() -> None:
    config = MarketConfig(**(CALM | {"season_amplitude": 0.25}))
    market = Market(config, 1, START_MS)
    per_minute = [market.truth.requests_per_minute(START_MS + h * HOUR_MS).sum() for h in range(7 * 24)]
    people = 1 - config.bot_share
    assert np.mean(per_minute) / people * events_per_visit(config) == pytest.approx(5000, rel=1e-3)
    assert max(per_minute) > 1.3 * min(per_minute)


def test_number_of_events_is_the_expected_one() -> None:
    market = a_market(events_per_minute=6_000.0)
    market.opening(START_MS)
    prices = ListPrices(market.list_minor)
    market.step(START_MS, START_MS + 3 * MINUTE_MS, prices)
    assert len(market.step(START_MS + 3 * MINUTE_MS, START_MS + 8 * MINUTE_MS, prices)) == pytest.approx(
        30_000, rel=0.05
    )


def test_demo_best_sellers_sell_one_to_six_units_a_minute() -> None:
    market = Market(MarketConfig(**CALM), 1, START_MS)
    truth = market.truth
    chance = sum(truth.shares[:, k] * truth.conversion[:, k] for k in (0, 1))
    per_minute = truth.requests_per_minute() * chance
    assert all(1.0 < per_minute[m * 200 : (m + 1) * 200].max() < 6.0 for m in range(3))
    assert np.median(per_minute) < 0.2


def test_purchases_match_the_true_probability_at_every_price() -> None:
    market = a_market(skus=2, rivals=3, rival_check_min=10**9, rival_jump_min=10**9, short_stock_share=0.0)
    events = a_run(market, 20, tables(market, (0.8, 1.25)))
    # Orders of the last visits are not published yet.
    quotes = [
        q for q in records(events, "quotes") if q["event_time_ms"] < START_MS + 18 * MINUTE_MS and not q["bot"]
    ]
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


def test_shown_price_is_the_contracts_pick() -> None:
    market = a_market()
    prices = tables(market)
    by_listing = {t.listing: t for t in prices.tables if t is not None}
    for quote in records(a_run(market, 2, prices), "quotes"):
        table = by_listing[Listing(quote["tenant"], quote["market"], quote["sku"])]
        assert (quote["price_minor"], quote["propensity"]) == table.pick(quote["customer"], quote["segment"])
        assert (quote["table_id"], quote["version"], quote["source"]) == (table.table_id, 5, "table")


def test_expired_table_is_replaced_by_the_list_price() -> None:
    market = a_market()
    quotes = records(a_run(market, 2, tables(market, expires_ms=START_MS + MINUTE_MS)), "quotes")
    assert {q["source"] for q in quotes if q["event_time_ms"] < START_MS + MINUTE_MS} == {"table"}
    late = [q for q in quotes if q["event_time_ms"] >= START_MS + MINUTE_MS]
    assert {(q["source"], q["propensity"], q["table_id"] == f"list-{q['price_minor']}") for q in late} == {
        ("list", 1.0, True)
    }


def test_older_table_does_not_replace_a_newer_one() -> None:
    market = a_market()
    prices = tables(market)
    held = prices.tables[0]
    assert held is not None
    assert prices.take({held.listing: dataclasses.replace(held, version=4)}) == 0
    assert prices.take({held.listing: dataclasses.replace(held, version=6)}) == 1
    assert prices.take({Listing("x", "y", "z"): held}) == 0


def test_known_customer_has_its_segment_and_a_newcomer_the_default() -> None:
    market = a_market(customers=50)
    prices = ListPrices(market.list_minor)
    first = records(a_run(market, 1, prices), "quotes")
    assert {q["segment"] for q in first} == {"all"}
    regular = Counter(q["customer"] for q in first if not q["bot"]).most_common(1)[0][0]
    prices.known[regular] = "strategic"
    more = market.step(START_MS + MINUTE_MS, START_MS + 2 * MINUTE_MS, prices)
    assert {q["segment"] for q in records(more, "quotes") if q["customer"] == regular} == {"strategic"}


def test_myopic_customers_buy_more_often_above_the_rivals_price() -> None:
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


def test_bots_never_buy() -> None:
    events = a_run(a_market(bot_share=0.3), 4)
    bots = {q["session"] for q in records(events, "quotes") if q["bot"]}
    assert len(bots) > 300
    assert not bots & {o["session"] for o in records(events, "orders")}
    assert {c["kind"] for c in records(events, "clicks") if c["session"] in bots} == {"search", "view"}
    assert {c["bot"] for c in records(events, "clicks") if c["session"] in bots} == {True}


def test_order_has_the_values_of_its_quote() -> None:
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


class SomeExternalQuotes(ListPrices):
    """List prices; every third visit has an external quote."""

    def quote(self, visits: Visits) -> Quoted:
        """Raise the price of external quotes by one."""
        out = super().quote(visits)
        for j in range(0, len(visits.listing), 3):
            out.price_minor[j] += 1
            out.external[j] = ExternalQuote(
                f"edge-{visits.session[j]}", visits.customer[j], "s9", "myopic", "base"
            )
        return out


def test_external_quote_is_not_logged_again() -> None:
    market = a_market()
    events = a_run(market, 20, SomeExternalQuotes(market.list_minor))
    assert not [q for q in records(events, "quotes") if q["session"] == "s9"]
    orders = [o for o in records(events, "orders") if o["session"] == "s9"]
    assert orders and all(o["quote_id"].startswith("edge-") and o["segment"] == "myopic" for o in orders)
    assert [c for c in records(events, "clicks") if c["session"] == "s9"]


def test_shock_changes_arrivals_or_readiness_from_its_minute_on() -> None:
    shocks = (
        Shock(10, "web-us-usd", 0, 2.0, "arrivals"),
        Shock(10, "web-us-usd", 1, 0.4, "readiness", until_min=20),
    )
    market = a_market(shocks=shocks)
    first, second = (market._world.ranked[0][r] for r in (0, 1))
    before, after = (market.truth.requests_per_minute(START_MS + m * MINUTE_MS) for m in (9, 10))
    assert after[first] == pytest.approx(2 * before[first])
    assert after[second] == before[second]

    def chance(minute: int) -> float:
        price = market.list_minor[second]
        at = START_MS + minute * MINUTE_MS
        return float(market.truth.purchase_probability(np.array(second), np.array(0), np.array(price), at_ms=at))

    assert chance(10) == pytest.approx(0.4 * chance(9), rel=0.05)
    assert chance(20) == chance(9)


@pytest.mark.parametrize("family", ["mixture", "step", "reference", "stockpiling"])
def test_every_family_sells(family: str) -> None:
    market = a_market(family=family)
    placed = [o for o in records(a_run(market, 8, tables(market, (0.9,))), "orders") if o["kind"] == "placed"]
    assert len(placed) > 40
    if family == "stockpiling":
        assert np.mean([o["quantity"] for o in placed]) > 2
