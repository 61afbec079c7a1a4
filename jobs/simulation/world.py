"""The simulated assortment, drawn from a seed: listings, popularity, elasticities, costs and segments.

Arrays run over listings, market by market, SKU by SKU: index = market · skus + sku.

Each product has an elasticity ε ~ N(−2, .4²) (each market ± .1), a base price, and a cost at which the optimal
price cost·ε/(1+ε) is within ±20 % of the list price: list prices are plausible, and few are optimal. Strategic
customers have the steeper ε_k, so that the sales-weighted mean over both segments is ε:  ε = Σ_k w_k ε_k, ε_myopic
= h·ε_strategic,  w_k the segment's share of the visits.

A share of the products is sold in two to four sizes or colours. These are consecutive SKUs of one price group,
with one list price, category and role, and with demand, cost and stock of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.simulation.config import MYOPIC, STRATEGIC, MarketConfig
from jobs.simulation.demand import DemandParameters
from schemas.events import Role
from schemas.listings import Listing, group_key
from schemas.time_units import MINUTES_PER_DAY

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class World:
    """The assortment; every array is per listing, ``elasticity_of`` and ``shares`` per segment too.

    Attributes
    ----------
    keys : Kafka keys of the records about a listing, of its price group.
    price_group : SKU of the first listing of the product.
    popularity : share of all visits.
    ranked : per market, the listings from the best seller down.
    list_minor, floor_minor, ceiling_minor, cost_minor : minor units.
    rival_position : rivals' usual price relative to the list price.
    visits_per_minute : expected visits of the whole market, averaged over a week.
    """

    listings: tuple[Listing, ...]
    keys: tuple[str, ...]
    price_group: tuple[str, ...]
    market: Array
    category: tuple[str, ...]
    role: tuple[str, ...]
    currency: tuple[str, ...]
    popularity: Array
    ranked: tuple[tuple[int, ...], ...]
    elasticity: Array
    elasticity_of: Array
    shares: Array
    list_minor: Array
    floor_minor: Array
    ceiling_minor: Array
    cost_minor: Array
    rival_position: Array
    demand: DemandParameters
    visits_per_minute: float


def events_per_visit(config: MarketConfig) -> float:
    """Return the expected records of one visit, from the quote to a return of the goods."""
    people, buys = 1 - config.bot_share, config.conversion
    browsing = 1 + config.search_share + VIEW_SHARE
    carts = (1 - buys) * CART_SHARE * (1 + CHECKOUT_SHARE)
    return browsing + people * (carts + buys * (4 + CANCEL_SHARE + RETURN_SHARE))


VIEW_SHARE = 0.85
CART_SHARE = 0.06
"""Share of visits without an order that leave a cart behind."""
CHECKOUT_SHARE = 0.3
"""Share of abandoned carts that reached the checkout."""
CANCEL_SHARE = 0.01
RETURN_SHARE = 0.03


def build_world(config: MarketConfig, seed: int) -> World:
    """Return the assortment of a seed."""
    rng = np.random.default_rng([seed, 1])
    skus, markets = config.skus, len(config.markets)
    n = config.listings
    sku = np.tile(np.arange(skus), markets)
    market = np.repeat(np.arange(markets), skus)

    ranked, popularity = [], np.zeros(n)
    shares = np.array([place.share for place in config.markets])
    zipf = np.arange(1, skus + 1, dtype=float) ** -config.popularity_exponent
    zipf /= zipf.sum()
    for m in range(markets):
        order = np.argsort(np.arange(skus) + rng.normal(0, 0.0 if m == 0 else 3.0, skus), kind="stable")
        ranked.append(tuple(int(i) for i in m * skus + order))
        popularity[m * skus + order] = shares[m] / shares.sum() * zipf

    elasticity = rng.normal(config.elasticity, config.elasticity_sd, skus)[sku] + rng.normal(0, 0.1, n)
    elasticity = np.minimum(elasticity, -1.2)
    conversion = np.clip(config.conversion * np.exp(rng.normal(0, 0.2, n)), 0.005, 0.3)
    conversion *= config.conversion / float(popularity @ conversion)

    dearer = rng.random(n) < config.dearer_share
    strategic = np.where(dearer, 0.25, 0.75)
    split = np.stack([1 - strategic, strategic], axis=1)
    steep = elasticity / (split[:, MYOPIC] * config.myopic_of_strategic + split[:, STRATEGIC])
    by_segment = np.stack([config.myopic_of_strategic * steep, steep], axis=1)
    cross = np.stack([np.full(n, 0.2), np.full(n, 0.9)], axis=1) * np.exp(rng.normal(0, 0.15, (n, 1)))

    base = np.exp(rng.uniform(np.log(9.0), np.log(180.0), skus))[sku]
    first = product_of(config, seed)[sku]
    base *= np.array([place.level for place in config.markets])[market] * np.exp(rng.normal(0, 0.04, n))
    list_minor = np.maximum(np.round(base) * 100 - 1, 299).astype(np.int64)
    list_minor = list_minor[market * skus + first]
    off = np.exp(rng.uniform(np.log(0.83), np.log(1.2), n))
    cost = np.minimum(list_minor * off * (1 + elasticity) / elasticity, list_minor * 0.8)
    cost_minor = np.maximum(np.round(cost), 50).astype(np.int64)
    floor = np.ceil(np.minimum(np.maximum(cost_minor * 1.13, list_minor * 0.6), list_minor * 0.97))
    position = np.where(dearer, 0.94, 1.08) * np.exp(rng.normal(0, 0.015, n))

    rank_of = np.empty(n, dtype=np.int64)
    for order_m in ranked:
        rank_of[list(order_m)] = np.arange(skus)
    steps = np.array([0.05, 0.2, 0.5]) * skus
    roles = (Role.KVI, Role.TRAFFIC, Role.MARGIN, Role.LONG_TAIL)

    visits = config.events_per_minute / events_per_visit(config)
    demand = DemandParameters(
        conversion=np.repeat(conversion[:, None], 2, axis=1),
        own=by_segment / (1 - conversion[:, None]),
        cross=cross,
        reference=list_minor.astype(float),
        offer=list_minor * position,
        daily_units=popularity * visits * MINUTES_PER_DAY * conversion * UNITS_PER_ORDER,
    )
    listings = tuple(
        Listing(config.tenant, config.markets[m].name, f"sku-{s + 1:04d}")
        for m, s in zip(market, sku, strict=True)
    )
    groups = tuple(f"sku-{s + 1:04d}" for s in first)
    return World(
        listings=listings,
        keys=tuple(group_key(x.tenant, x.market, group) for x, group in zip(listings, groups, strict=True)),
        price_group=groups,
        market=market,
        category=tuple(config.categories[s % len(config.categories)] for s in first),
        role=tuple(
            roles[int(np.searchsorted(steps, r, side="right"))].value for r in rank_of[market * skus + first]
        ),
        currency=tuple(config.markets[m].currency for m in market),
        popularity=popularity,
        ranked=tuple(ranked),
        elasticity=elasticity,
        elasticity_of=by_segment,
        shares=split,
        list_minor=list_minor,
        floor_minor=floor.astype(np.int64),
        ceiling_minor=np.floor(list_minor * 1.5).astype(np.int64),
        cost_minor=cost_minor,
        rival_position=position,
        demand=demand,
        visits_per_minute=visits,
    )


SIZES = (2, 3, 4)
"""Listings of a product that is sold in several sizes or colours; equally frequent."""


def product_of(config: MarketConfig, seed: int) -> Array:
    """Return, per SKU, the first SKU of its product; without ``grouped_share`` its own index.

    >>> from dataclasses import replace
    >>> product_of(MarketConfig(skus=4, grouped_share=0.0), 1).tolist()
    [0, 1, 2, 3]
    >>> int(product_of(MarketConfig(skus=4, grouped_share=1.0), 1)[1])
    0
    """
    rng = np.random.default_rng([seed, 6])
    first: list[int] = []
    while len(first) < config.skus:
        grouped, size = rng.random() < config.grouped_share, int(rng.choice(SIZES))
        first += [len(first)] * (size if grouped else 1)
    return np.array(first[: config.skus])


QUANTITY = ((1, 0.88), (2, 0.09), (3, 0.03))
"""Units of an order and their frequency."""
UNITS_PER_ORDER = sum(units * share for units, share in QUANTITY)
