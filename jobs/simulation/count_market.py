"""The simulated market as counts: a minute's cells drawn at once, so that weeks are simulated in seconds.

The same world, families, seasons and rivals as :mod:`market`, without single shoppers. The counts of a minute for
listing i, true segment s, label l (what the shop knows of a customer) and price point t are

    n ~ Poisson(visits_i · people · share_is · P(l | s) · q_ilt),   y ~ Binomial(n, P(buy | i, s, price_t))   (1)

with q the shop's select probabilities and P(buy) the family's, averaged over devices and customers' classes.
Searches, and those that ended without an order, follow from n and y and mature half an hour later.

Differences from single shoppers: a customer's class is drawn again with each visit, stock never runs out, nothing
is returned. Rivals follow our list price: if they followed our price, today's best price would not be the best in
the long run, and no optimum would be known. Profit is the *expected* one at the prices shown, so that two
strategies on one market differ by their prices and not by the draws.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.simulation.config import SEGMENTS, MarketConfig
from jobs.simulation.demand import family_named
from jobs.simulation.rivals import Rivals
from jobs.simulation.seasons import Seasons
from jobs.simulation.truth import DEVICES
from jobs.simulation.world import QUANTITY, UNITS_PER_ORDER, build_world
from schemas.events import DEFAULT_SEGMENT, CatalogEntry, Offer
from schemas.records.counts import Cell
from schemas.time_units import MINUTE_MS

Array = NDArray[Any]
LABELS = (DEFAULT_SEGMENT, *SEGMENTS)
"""What the shop knows of a customer: nothing yet, or the segment."""
_MATURE_MIN = 30
_REFRESH_MIN = 20
_PAIRS = ((0, 0), (0, 1), (1, 0), (1, 2))
"""(true segment, label): a customer is unknown, or known with the true segment."""


class Shown(NamedTuple):
    """Prices shown, per listing, label (in :data:`LABELS` order) and price point.

    ``price`` (listings, labels, points) in minor units, ``share`` the select probabilities, which sum to 1 over
    the points; unused points have share 0 and any price above 0.
    """

    price: Array
    share: Array

    @classmethod
    def single(cls, price_minor: Sequence[int] | Array) -> Shown:
        """Return one price per listing for everybody."""
        price = np.repeat(np.asarray(price_minor, dtype=np.int64)[:, None, None], len(LABELS), axis=1)
        return cls(price, np.ones_like(price, dtype=float))


class Minute(NamedTuple):
    """Results of a minute: the shop's cells and facts, and the truth, which only the arena reads.

    ``requests`` and ``profit_minor`` (expected, given the prices shown) are per listing.
    """

    cells: tuple[Cell, ...]
    offers: tuple[Offer, ...]
    catalog: tuple[CatalogEntry, ...]
    requests: Array
    profit_minor: Array


class CountMarket:
    """A market stepped minute by minute, as counts.

    Parameters
    ----------
    config : the market; stock, bots' records and broken records are left out.
    seed : of everything random; arrivals and orders have a random stream per minute, so that two strategies on one
        seed get the same draws as long as they show the same prices.
    start_ms : the run's start, epoch ms.
    known_share : share of visits by customers whose segment the shop knows, 0 to 1.

    Attributes
    ----------
    cost_minor, list_minor, offer_minor : current values per listing.

    Examples
    --------
    >>> market = CountMarket(MarketConfig(skus=2, shocks=(), rival_moves=(), cost_changes=(), calendar=()), 1, 0)
    >>> _ = market.opening()
    >>> minute = market.step(Shown.single(market.list_minor))
    >>> len(minute.requests), bool(minute.profit_minor.sum() > 0), minute.cells[0].price_minor > 0
    (6, True, True)
    """

    def __init__(self, config: MarketConfig, seed: int, start_ms: int, known_share: float = 0.8) -> None:
        self.config, self._seed, self._start_ms = config, seed, start_ms
        self.world = build_world(config, seed)
        self.family = family_named(config.family, self.world.demand)
        self._seasons = Seasons(config, self.world, start_ms)
        self._rivals = Rivals(config, self.world, seed)
        self.listings = self.world.listings
        self.list_minor = self.world.list_minor.copy()
        self.cost_minor = self.world.cost_minor.copy()
        self.offer_minor = self._rivals.reference()
        self.minutes = 0
        label = np.array([known_share if lab else 1 - known_share for _, lab in _PAIRS])
        self._split = self.world.shares[:, [s for s, _ in _PAIRS]] * label
        self._shown: Shown | None = None
        self._chance: Array = np.zeros(0)
        self._units: Array = np.zeros(0)
        self._extra = np.zeros(len(self.listings))
        self._searched: deque[list[tuple[int, int, int, int, int]]] = deque()

    @property
    def now_ms(self) -> int:
        """Event time: the end of the last minute, epoch ms."""
        return self._start_ms + self.minutes * MINUTE_MS

    def opening(self) -> Minute:
        """Return catalog and offers at the start."""
        n = len(self.listings)
        everyone = range(n)
        offers = tuple(self._offer(i, r) for i in everyone for r in range(len(self._rivals.names)))
        catalog = tuple(self._entry(i) for i in everyone)
        return Minute((), offers if self.config.rivals else (), catalog, np.zeros(n), np.zeros(n))

    def step(self, shown: Shown, counted: bool = True) -> Minute:
        """Simulate a minute under these prices; without ``counted`` no cells, for a strategy without learning."""
        at_ms = self.now_ms
        k, epoch_min = self.minutes, at_ms // MINUTE_MS
        rng = np.random.Generator(np.random.Philox(key=[self._seed + 7_000_003, epoch_min]))
        offers: list[Offer] = []
        moved = False
        if self.config.rivals:
            changed = self._rivals.react(epoch_min, k, self.list_minor)
            moved = bool(changed.any())
            changed[k % 60 :: 60] = True
            offers = [self._offer(int(i), int(r)) for i, r in np.argwhere(changed)]
            self.offer_minor = self._rivals.reference()
        catalog = self._cost_changes(k)
        if shown is not self._shown or moved or k % _REFRESH_MIN == 0:
            self._shown = shown
            self._chance = self.chance(shown.price[:, [lab for _, lab in _PAIRS], :])
            self._units = UNITS_PER_ORDER + self._extra_units(shown.price)
        q = shown.share[:, [lab for _, lab in _PAIRS], :]
        rate = self._seasons.arrivals(at_ms) * (1 - self.config.bot_share)
        visits = rate[:, None, None] * self._split[:, :, None] * q
        price = shown.price[:, [lab for _, lab in _PAIRS], :]
        units = self._units[:, [lab for _, lab in _PAIRS], :]
        profit = (visits * self._chance * units * (price - self.cost_minor[:, None, None])).sum(axis=(1, 2))
        cells: tuple[Cell, ...] = ()
        if counted:
            n = rng.poisson(visits)
            cells = self._cells(rng, shown, n, rng.binomial(n, self._chance))
        else:
            self._extra = (visits * self._chance * (units - UNITS_PER_ORDER)).sum(axis=(1, 2))
        mean = (price * q * self._split[:, :, None]).sum(axis=(1, 2))
        self.family.end_minute(mean, self._extra)
        self.minutes += 1
        return Minute(cells, tuple(offers), catalog, rate, profit)

    def chance(self, price: Array) -> Array:
        """Return the true probability to buy per (listing, segment-and-label pair, point), now.

        Prices have shape (listings, 4, points) for the pairs (myopic, unknown), (myopic, known), (strategic,
        unknown), (strategic, known).
        """
        shape = price.shape
        who = np.broadcast_to(np.arange(shape[0])[:, None, None], shape).ravel()
        seg = np.broadcast_to(np.array([s for s, _ in _PAIRS])[None, :, None], shape).ravel()
        flat, offer = price.ravel().astype(float), self.offer_minor[who].astype(float)
        lift = self._seasons.readiness(self.now_ms)[who]
        total = np.zeros(len(flat))
        for latent_class, share in enumerate(self.family.classes):
            for _, device_share, context in DEVICES:
                chance = self.family.probability(
                    who, seg, np.full(len(flat), latent_class), flat, offer, lift + context
                )
                total += share * device_share * chance
        return np.minimum(total, 1.0).reshape(shape)

    def profit_per_request(self, price: Array) -> Array:
        """Return the expected profit per request at each price, now: (listings, labels, points) in and out.

        A label's value is the mean over its customers, extra units at a low price included.
        """
        pairs = [lab for _, lab in _PAIRS]
        chance = self.chance(price[:, pairs, :])
        value = np.zeros(price.shape)
        weight = np.zeros((*price.shape[:2], 1))
        for j, lab in enumerate(pairs):
            value[:, lab] += self._split[:, j, None] * chance[:, j]
            weight[:, lab] += self._split[:, j, None]
        units = UNITS_PER_ORDER + self._extra_units(price)
        return value / weight * units * (price - self.cost_minor[:, None, None])

    def _extra_units(self, price: Array) -> Array:
        """Return the expected units beyond the usual ones per buying visit."""
        who = np.broadcast_to(np.arange(price.shape[0])[:, None, None], price.shape).ravel()
        flat = price.ravel().astype(float)
        thirds = [self.family.extra_units(who, flat, np.full(len(flat), u)) for u in (1 / 6, 1 / 2, 5 / 6)]
        return np.asarray(np.mean(thirds, axis=0)).reshape(price.shape)

    def _cells(self, rng: np.random.Generator, shown: Shown, n: Array, y: Array) -> tuple[Cell, ...]:
        """Return what the shop counts: sums over what it cannot distinguish, and the sessions that matured."""
        by_label_n = np.zeros(shown.price.shape, dtype=np.int64)
        by_label_y = np.zeros_like(by_label_n)
        for j, (_, lab) in enumerate(_PAIRS):
            by_label_n[:, lab] += n[:, j]
            by_label_y[:, lab] += y[:, j]
        at = np.argwhere(by_label_n > 0)
        where = tuple(at.T)
        exposures, orders = by_label_n[where], by_label_y[where]
        price = shown.price[where]
        two, three = (sum(share for u, share in QUANTITY if u >= k) for k in (2, 3))
        units = orders + rng.binomial(orders, two) + rng.binomial(rng.binomial(orders, two), three / two)
        self._extra[:] = 0.0
        if self.family.name == "stockpiling" and orders.any():
            draws = rng.random(len(orders))
            extra = orders * self.family.extra_units(at[:, 0], price.astype(float), draws)
            np.add.at(self._extra, at[:, 0], extra)
            units = units + extra
        share = self.config.search_share
        bought, left = rng.binomial(orders, share), rng.binomial(exposures - orders, share)
        counts: dict[tuple[int, int, int], list[int]] = {}
        rows = zip(at[:, 0].tolist(), at[:, 1].tolist(), price.tolist(), exposures.tolist(), orders.tolist(),
                   units.tolist(), strict=True)  # fmt: skip
        for i, lab, p, seen, sold, taken in rows:
            found = counts.setdefault((i, lab, p), [0, 0, 0, 0, 0])
            found[0] += seen
            found[1] += sold
            found[2] += taken
        columns = (at[:, 0], at[:, 1], price, bought + left, left)
        searched = zip(*(column.tolist() for column in columns), strict=True)
        self._searched.append([row for row in searched if row[3]])
        if len(self._searched) > _MATURE_MIN:
            for i, lab, p, matured, abandoned in self._searched.popleft():
                found = counts.setdefault((i, lab, p), [0, 0, 0, 0, 0])
                found[3] += matured
                found[4] += abandoned
        cells = []
        for (i, lab, p), (seen, sold, taken, matured, abandoned) in sorted(counts.items()):
            listing = self.listings[i]
            cells.append(
                Cell(
                    tenant=listing.tenant,
                    market=listing.market,
                    sku=listing.sku,
                    price_group=self.world.price_group[i],
                    arm="base",
                    segment=LABELS[lab],
                    price_minor=p,
                    currency=self.world.currency[i],
                    exposures=seen,
                    orders=sold,
                    units=taken,
                    revenue_minor=taken * p,
                    searches_matured=matured,
                    searches_abandoned=abandoned,
                )
            )
        return tuple(cells)

    def _cost_changes(self, minute: int) -> tuple[CatalogEntry, ...]:
        names = [place.name for place in self.config.markets]
        sent = []
        for change in self.config.cost_changes:
            if change.at_min == minute and change.market in names and change.rank < self.config.skus:
                i = self.world.ranked[names.index(change.market)][change.rank]
                self.cost_minor[i] = round(self.cost_minor[i] * change.factor)
                sent.append(self._entry(i))
        return tuple(sent)

    def _offer(self, i: int, r: int) -> Offer:
        listing, rivals = self.listings[i], self._rivals
        return Offer(
            event_id=f"o-{i}-{r}-{self.minutes}", event_time_ms=self.now_ms, tenant=listing.tenant,
            market=listing.market, sku=listing.sku, price_group=self.world.price_group[i],
            competitor=rivals.names[r], price_minor=int(rivals.price[i, r]),
            shipping_minor=int(rivals.shipping[i, r]),
            in_stock=bool(rivals.in_stock[i, r]), currency=self.world.currency[i], pack_size=1,
            source="simulated", match_confidence=1.0,
        )  # fmt: skip

    def _entry(self, i: int) -> CatalogEntry:
        listing, world = self.listings[i], self.world
        return CatalogEntry(
            event_id=f"c-{i}-{self.minutes}", event_time_ms=self.now_ms, tenant=listing.tenant,
            market=listing.market, sku=listing.sku, price_group=world.price_group[i], category=world.category[i],
            role=world.role[i], currency=world.currency[i], pack_size=1, active=True,
            cost_minor=int(self.cost_minor[i]), list_minor=int(world.list_minor[i]),
            floor_minor=int(world.floor_minor[i]), ceiling_minor=int(world.ceiling_minor[i]),
        )  # fmt: skip
