"""A simulated market with known demand, stepped through time: visits in, records out.

    market = Market(MarketConfig(), seed=1, start_ms=0)
    events = market.opening(0)                    catalog, stock, calendar, offers
    events = market.step(0, 60_000, prices)       records that reach the topics in this minute

All random numbers of a simulated minute are drawn from a random stream of its own, before the minute is cut into
steps, and visits are served in order of time. So the same seed and the same prices give the same bytes whatever
the length of the steps.

A visit: quote → (search, view) → cart → checkout → order → payment, and perhaps a cancellation or a return days
later. A visit without an order may leave a search or a cart behind; bots never buy.

Over 300 lines: a visit's records depend on the state of its minute (stock, names, random draws), which all methods
share. Split, each part would need most of that state as arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from jobs.simulation.config import MYOPIC, SEGMENTS, MarketConfig
from jobs.simulation.demand import family_named
from jobs.simulation.incidents import DIRTY
from jobs.simulation.prices import Prices, Quoted, Visits
from jobs.simulation.record_writer import Event, RecordWriter, text
from jobs.simulation.rivals import Rivals
from jobs.simulation.seasons import Seasons
from jobs.simulation.stock import SimulatedStock
from jobs.simulation.truth import DEVICES, Truth
from jobs.simulation.world import (
    CANCEL_SHARE,
    CART_SHARE,
    CHECKOUT_SHARE,
    QUANTITY,
    RETURN_SHARE,
    VIEW_SHARE,
    build_world,
)
from schemas.time_units import DAY_MS, MINUTE_MS

Array = NDArray[Any]
MAX_VISITS = 1 << 24
"""Most visits of a minute: the order among equal times has 4 bits per visit for its records."""
FULL_REPORT_MIN = 240
"""Minutes in which every listing's offers and stock are reported once, changed or not."""
_DRAWS = 17
_SPREAD = 1_000_003
"""A prime above any population: it permutes customers' numbers so that a name does not reveal the segment."""


@dataclass(slots=True)
class Events:
    """Records in the order in which they reach the topics."""

    records: list[Event]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.records)

    def counts(self) -> dict[str, int]:
        """Return the number of records by topic."""
        found: dict[str, int] = {}
        for _, _, topic, _, _ in self.records:
            found[topic] = found.get(topic, 0) + 1
        return dict(sorted(found.items()))


def calendar_id(start_ms: int, k: int) -> str:
    """Return the event id of the calendar's k-th entry; it contains the run's start, for a restart to read."""
    return f"c{start_ms:x}-{k}"


def run_start_of(event_id: str) -> int | None:
    """Return the run's start from a calendar entry's id; None if the entry is not a simulated one.

    >>> run_start_of(calendar_id(1_767_571_200_000, 2)), run_start_of("holiday-7")
    (1767571200000, None)
    """
    found = re.fullmatch(r"c([0-9a-f]+)-\d+", event_id)
    return int(found[1], 16) if found else None


def _check_plain_names(names: set[str]) -> None:
    """Raise ``ValueError`` for a name that JSON would escape: lines are formatted as text."""
    for name in sorted(names):
        if text(name) != f'"{name}"':
            raise ValueError(f"prices: expected plain names for segments, arms, tables and sources, got {name!r}")


@dataclass(slots=True)
class _Minute:
    """A minute's drawn visits in order of time; ``at`` is the next one to serve."""

    number: int
    time_ms: Array
    listing: Array
    segment: Array
    latent_class: Array
    bot: Array
    draws: Array
    customer: Array
    readiness: Array
    day_part: list[str]
    at: int = 0


class Market:
    """A simulated market.

    Parameters
    ----------
    config : the configuration.
    seed : of everything random.
    start_ms : the run's start, epoch ms; schedules count from it, whenever :meth:`opening` is called.
    pseudonym : returns the recorded id of a customer or session (in a run, the edge's keyed hash).

    Attributes
    ----------
    truth : the true demand.
    listings : in index order.
    """

    def __init__(
        self,
        config: MarketConfig | None = None,
        seed: int = 1,
        start_ms: int = 0,
        pseudonym: Callable[[str], str] = str,
    ) -> None:
        self.config = config or MarketConfig()
        self._seed, self._start_ms, self._pseudonym = seed, start_ms, pseudonym
        self._world = build_world(self.config, seed)
        self._family = family_named(self.config.family, self._world.demand)
        self._seasons = Seasons(self.config, self._world, start_ms)
        self._rivals = Rivals(self.config, self._world, seed)
        self._stock = SimulatedStock(self.config, self._world, seed)
        self._writer = RecordWriter(self._world)
        self._cost = self._world.cost_minor.copy()
        self._now_ms = start_ms
        self._open = False
        self._minute: _Minute | None = None
        self._next: _Minute | None = None
        self._offer = self._rivals.reference()
        self._pending: dict[int, list[Event]] = {}
        self._changed_stock: set[int] = set()
        self._buyers: list[str] = []
        self._shown = np.zeros((2, self.config.listings))
        self._extra = np.zeros(self.config.listings)
        self._strategic_from = self._split_customers()
        self._names: dict[int, tuple[str, str]] = {}
        self.truth = Truth(
            self.config, self._world, self._family, self._seasons, self._rivals, lambda: self._now_ms
        )
        self.listings = self._world.listings

    @property
    def list_minor(self) -> Array:
        """List price per listing, minor units."""
        return self._world.list_minor.copy()

    def opening(self, at_ms: int) -> Events:
        """Return catalog, stock, calendar and offers as they are at ``at_ms``. Called once, before any step.

        A restarted run opens at the time that it has reached, with the costs of that time.
        """
        self._cost = self._world.cost_minor.copy()
        for i in self._cost_changes(lambda at_min: at_min < (at_ms - self._start_ms) // MINUTE_MS):
            self.truth.cost_minor[i] = self._cost[i]
        n = len(self.listings)
        self._now_ms, self._open, self._minute, self._next = at_ms, True, None, None
        out = [self._writer.catalog(i, int(self._cost[i]), at_ms, "o") for i in range(n)]
        out += [self._writer.stock(i, self._stock, at_ms, tag="o") for i in range(n)]
        for k, plan in enumerate(self.config.calendar):
            value = {
                "event_id": calendar_id(self._start_ms, k), "event_time_ms": at_ms, "tenant": self.config.tenant,
                "kind": plan.kind, "name": plan.name, "zone": plan.zone, "categories": plan.category,
                "start_ms": self._start_ms + plan.at_min * MINUTE_MS,
                "end_ms": self._start_ms + plan.until_min * MINUTE_MS,
                "expected_factor": plan.expected_factor, "spend_minor": plan.spend_minor,
            }  # fmt: skip
            out.append((at_ms, k, "calendar", self.config.tenant, orjson.dumps(value)))
        if self.config.rivals:
            out += [
                self._writer.offer(i, r, self._rivals, at_ms, "o")
                for i in range(n)
                for r in range(len(self._rivals.names))
            ]
        return Events(out)

    def step(self, start_ms: int, end_ms: int, prices: Prices) -> Events:
        """Return the records that reach the topics in [start_ms, end_ms), with shoppers shown ``prices``.

        Raises
        ------
        ValueError
            If the market is not open, or a step does not begin where the last one ended.
        """
        if not self._open or start_ms != self._now_ms or end_ms < start_ms:
            state = f"is at {self._now_ms}" if self._open else "is not open: call opening() first"
            raise ValueError(
                f"step: expected [{self._now_ms}, later), got [{start_ms}, {end_ms}); the market {state}"
            )
        out: list[Event] = []
        while self._now_ms < end_ms:
            minute = self._now_ms // MINUTE_MS
            if self._minute is None or self._minute.number != minute:
                self._begin(minute, prices)
            until = min(end_ms, (minute + 1) * MINUTE_MS)
            self._serve(until, prices)
            due = self._pending.get(minute, [])
            if until == (minute + 1) * MINUTE_MS:
                self._pending.pop(minute, None)
                ready = due
            else:
                ready = [event for event in due if event[0] < until]
                self._pending[minute] = [event for event in due if event[0] >= until]
            ready.sort()
            out += ready
            self._now_ms = until
        return Events(out)

    def drain_buyers(self) -> list[str]:
        """Return and clear the pseudonyms of customers who have bought since the last call."""
        buyers, self._buyers = self._buyers, []
        return buyers

    def _emit(self, event: Event) -> None:
        self._pending.setdefault(event[0] // MINUTE_MS, []).append(event)

    def _begin(self, minute: int, prices: Prices) -> None:
        """Advance rivals, stock and costs at a minute's start, then draw the minute's visits."""
        at_ms = max(self._now_ms, minute * MINUTE_MS)
        since_start = minute - self._start_ms // MINUTE_MS
        writer = self._writer
        asked = self._shown[1] > 0
        mean = np.full(len(asked), np.nan)
        mean[asked] = self._shown[0][asked] / self._shown[1][asked]
        self._family.end_minute(mean, self._extra)
        self._shown[:], self._extra[:] = 0.0, 0.0

        if self.config.rivals:
            changed = self._rivals.react(minute, since_start, prices.current(at_ms))
            # A scraper visits every listing periodically, so that offers do not become stale.
            changed[minute % FULL_REPORT_MIN :: FULL_REPORT_MIN] = True
            for i, r in np.argwhere(changed):
                self._emit(writer.offer(int(i), int(r), self._rivals, at_ms))
            self._offer = self._rivals.reference()
        moved = self._stock.pass_minute(minute, self._changed_stock)
        self._changed_stock = set()
        for i in sorted(moved | set(range(minute % FULL_REPORT_MIN, len(self.listings), FULL_REPORT_MIN))):
            self._emit(writer.stock(i, self._stock, at_ms))
        for i in self._cost_changes(lambda at_min: at_min == since_start):
            self.truth.cost_minor[i] = self._cost[i]
            self._emit(writer.catalog(i, int(self._cost[i]), at_ms))
        drawn = self._next if self._next is not None and self._next.number == minute else self._draw(minute)
        drawn.at = int(np.searchsorted(drawn.time_ms, at_ms, side="left"))
        if self.config.dirty_share:
            self._add_incidents(minute, at_ms)
        # Drawn a minute ahead, so that prices can be requested over the network in time.
        self._minute, self._next = drawn, self._draw(minute + 1)
        prices.prefetch(self._visits(self._next, 0, len(self._next.time_ms), prices))

    def _cost_changes(self, is_due: Callable[[int], bool]) -> list[int]:
        """Apply the cost changes whose minute is due; return their listings."""
        names = [place.name for place in self.config.markets]
        touched = []
        for change in self.config.cost_changes:
            if is_due(change.at_min) and change.market in names and change.rank < self.config.skus:
                i = self._world.ranked[names.index(change.market)][change.rank]
                self._cost[i] = round(self._cost[i] * change.factor)
                touched.append(i)
        return touched

    def _draw(self, minute: int) -> _Minute:
        config, world = self.config, self._world
        rng = np.random.Generator(np.random.Philox(key=[self._seed, minute]))
        expected = self._seasons.arrivals(minute * MINUTE_MS)
        rates = np.cumsum(expected)
        n = int(rng.poisson(rates[-1]))
        if n >= MAX_VISITS:
            raise ValueError(f"events_per_minute: expected fewer than {MAX_VISITS} visits a minute, got {n}")
        time_ms = minute * MINUTE_MS + np.sort(rng.integers(0, MINUTE_MS, n))
        draws = rng.random((n, _DRAWS))
        last = len(rates) - 1
        listing = np.minimum(np.searchsorted(rates, draws[:, 0] * rates[-1], side="right"), last)
        bot = draws[:, 1] < config.bot_share
        segment = (draws[:, 2] >= world.shares[listing, MYOPIC]).astype(np.int64)
        # A few customers visit often: density ∝ 1/√rank within the segment's part of the population.
        market = world.market[listing]
        begin = np.where(segment == MYOPIC, 0, self._strategic_from[market])
        end = np.where(segment == MYOPIC, self._strategic_from[market], config.customers)
        number = begin + np.floor(draws[:, 3] ** 2 * (end - begin)).astype(np.int64)
        customer = market * config.customers + number
        # Weyl sequence of the customer's number: an even spread that is constant per customer.
        spread = (customer * 0.6180339887498949) % 1.0
        bounds = np.cumsum(self._family.classes)
        latent_class = np.minimum(np.searchsorted(bounds, spread, side="right"), len(bounds) - 1)
        return _Minute(
            number=minute,
            time_ms=time_ms,
            listing=listing,
            segment=segment,
            latent_class=latent_class,
            bot=bot,
            draws=draws,
            customer=customer,
            readiness=self._seasons.readiness(minute * MINUTE_MS),
            day_part=[self._seasons.day_part(m, minute * MINUTE_MS) for m in range(len(config.markets))],
        )

    def _serve(self, until_ms: int, prices: Prices) -> None:
        """Serve the minute's visits before ``until_ms``: quote, decide, write."""
        m = self._minute
        assert m is not None
        a, b = m.at, int(np.searchsorted(m.time_ms, until_ms, side="left"))
        if a == b:
            return
        m.at = b
        listing, bot, u = m.listing[a:b], m.bot[a:b], m.draws[a:b]
        visits = self._visits(m, a, b, prices)
        quoted = prices.quote(visits)
        price = np.array(quoted.price_minor, dtype=float)
        people = ~bot
        np.add.at(self._shown[0], listing[people], price[people])
        np.add.at(self._shown[1], listing[people], 1)
        device = (u[:, 4] >= DEVICES[0][1]).astype(np.int64)
        lift = m.readiness[listing] + np.array([d[2] for d in DEVICES])[device]
        offer = self._offer[listing].astype(float)
        chance = self._family.probability(listing, m.segment[a:b], m.latent_class[a:b], price, offer, lift)
        wants = people & (u[:, 5] < chance)
        bounds = np.cumsum([share for _, share in QUANTITY])[:-1]
        usual = np.searchsorted(bounds, u[:, 6], side="right") + 1
        extra = self._family.extra_units(listing, price, u[:, 7])

        sold: dict[int, int] = {}
        base = self._base(m.number)
        for j in np.flatnonzero(wants).tolist():
            i = visits.listing[j]
            units = self._stock.take(i, int(usual[j] + extra[j]))
            if units:
                sold[j] = units
                self._buyers.append(visits.customer[j])
                self._changed_stock.add(i)
                self._extra[i] += max(0, units - int(usual[j]))
                if not self._stock.on_hand[i]:
                    # 15: ordered after all of this visit's own records.
                    self._emit(
                        self._writer.stock(i, self._stock, visits.time_ms[j], base + (a + j) * 16 + 15, "z")
                    )
        self._write(m, a, visits, quoted, device=device.tolist(), sold=sold, u=u)

    def _visits(self, m: _Minute, a: int, b: int, prices: Prices) -> Visits:
        """Return the minute's visits from the a-th to before the b-th, as the shop sees them."""
        ids, customers, arms = self._who(m, a, b)
        # Bots have no segment, but the shop looks up every customer the same way.
        return Visits(
            time_ms=m.time_ms[a:b].tolist(),
            listing=m.listing[a:b].tolist(),
            customer=customers,
            segment=prices.segments(customers),
            arm=arms,
            customer_id=ids,
            session=[f"s{m.number:x}-{i:x}" for i in range(a, b)],
            bot=m.bot[a:b].tolist(),
        )

    def _who(self, m: _Minute, a: int, b: int) -> tuple[list[str], list[str], list[str]]:
        """Return ids, pseudonyms and arms of the visits' customers (bots have names of their own)."""
        names, size, arms_of = self._names, self.config.customers, self.config.arms
        ids, customers = [], []
        for c, bot in zip(m.customer[a:b].tolist(), m.bot[a:b].tolist(), strict=True):
            if bot:
                c = -1 - c % 40
            known = names.get(c)
            if known is None:
                place, number = divmod(c, size)
                plain = f"bot-{-c}" if c < 0 else f"c{place}-{number * _SPREAD % size:06d}"
                if len(names) > 400_000:
                    names.clear()
                known = names[c] = plain, self._pseudonym(plain)
            ids.append(known[0])
            customers.append(known[1])
        if len(arms_of) == 1:
            return ids, customers, [arms_of[0]] * (b - a)
        spread = (m.customer[a:b] * 0.7548776662466927) % 1.0
        return ids, customers, [arms_of[int(x * len(arms_of))] for x in spread]

    def _write(
        self,
        m: _Minute,
        a: int,
        visits: Visits,
        quoted: Quoted,
        *,
        device: list[int],
        sold: dict[int, int],
        u: Array,
    ) -> None:
        """Write every record of the visits served."""
        _check_plain_names({*visits.segment, *visits.arm, *quoted.table_id, *quoted.source})
        writer, keys, pending = self._writer, self._world.keys, self._pending
        listing_text, currency_text, places = writer.listing, writer.currency, self.config.markets
        base, number = self._base(m.number), m.number
        market_of, offers, config = self._world.market, self._offer.tolist(), self.config
        here = pending.setdefault(number, [])
        searches, views = (u[:, 8] < config.search_share).tolist(), (u[:, 9] < VIEW_SHARE).tolist()
        leaves_cart, checks_out = (u[:, 10] < CART_SHARE).tolist(), (u[:, 11] < CHECKOUT_SHARE).tolist()
        later, coupon, fate, lateness = u[:, 12], u[:, 13], u[:, 14], u[:, 15].tolist()
        places_of = [[text(p) for p in place.places] for place in places]
        where = u[:, 16].tolist()
        waits = np.stack([300 + 7_000 * later, 4_000 + 40_000 * later, 9_000 + 90_000 * later], 1)
        waits = waits.astype(np.int64).tolist()
        end_of_minute = (number + 1) * MINUTE_MS
        quoting = zip(
            visits.time_ms, visits.listing, visits.customer, visits.segment, visits.arm, visits.session,
            visits.bot, quoted.price_minor, quoted.propensity, quoted.table_id, quoted.version, quoted.source,
            strict=True,
        )  # fmt: skip
        for j, (t, i, customer, segment, arm, session, bot, price, chance, table, version, source) in enumerate(
            quoting
        ):
            ident, order, key, money = f"{number:x}-{a + j:x}", base + (a + j) * 16, keys[i], currency_text[i]
            flag = "true" if bot else "false"
            answer = quoted.external.get(j)
            if answer is None:
                quote_id = f"q{ident}"
                who = (
                    f'"customer":"{customer}","session":"{session}","segment":"{segment}","arm":"{arm}",'
                    f'"price_minor":{price},{money}'
                )
                line = (
                    f'{{"event_id":"{quote_id}","event_time_ms":{t},{listing_text[i]},{who},"propensity":{chance!r},'
                    f'"table_id":"{table}","version":{version},"source":"{source}","offer_minor":{offers[i]},'
                    f'"bot":{flag}}}'
                )
                here.append((t, order, "quotes", key, line.encode()))
            else:
                quote_id, customer, session = answer.quote_id, answer.customer, answer.session
                segment, arm = answer.segment, answer.arm
                who = (
                    f'"customer":"{customer}","session":"{session}","segment":"{segment}","arm":"{arm}",'
                    f'"price_minor":{price},{money}'
                )
            m_index = market_of[i]
            geo = places_of[m_index][int(where[j] * len(places_of[m_index]))]
            tail = (
                f'{who},"device":"{DEVICES[device[j]][0]}","geo":{geo},"day_part":"{m.day_part[m_index]}",'
                f'"bot":{flag}}}'
            )
            units = sold.get(j, 0)
            to_view, to_cart, to_checkout = waits[j]
            clicks = []
            if searches[j]:
                clicks.append(("search", 1, t))
            if views[j] or units:
                clicks.append(("view", 2, t + to_view))
            if units or (leaves_cart[j] and not bot):
                clicks.append(("cart", 3, t + to_cart))
                if units or checks_out[j]:
                    clicks.append(("checkout", 4, t + to_checkout))
            for kind, stage, at in clicks:
                line = (
                    f'{{"event_id":"{kind[0]}{stage}{ident}","event_time_ms":{at},{listing_text[i]},"kind":"{kind}",'
                    f"{tail}"
                )
                if stage == 2 and lateness[j] < config.late_share:
                    at += 20_000 + int(100_000 * float(later[j]))
                if at < end_of_minute:
                    here.append((at, order + stage, "clicks", key, line.encode()))
                else:
                    self._emit((at, order + stage, "clicks", key, line.encode()))
            if units:
                discount = int(price * 0.1 * float(coupon[j]) / 0.08) if coupon[j] < 0.08 else 0
                head = f'{listing_text[i]},"kind":"'
                rest = (
                    f'","order_id":"o{ident}","line":0,"customer":"{customer}","session":"{session}",'
                    f'"segment":"{segment}","arm":"{arm}","quoted_price_minor":{price},'
                    f'"price_paid_minor":{price - discount},"discount_minor":{discount},"quantity":{units},'
                    f'{money},"quote_id":"{quote_id}","offer_minor":{offers[i]}}}'
                )
                placed = t + to_checkout + 3_000 + int(50_000 * float(fate[j]))
                lives = [("placed", 5, placed), ("paid", 6, placed + 1_500)]
                if fate[j] < CANCEL_SHARE:
                    lives.append(("cancelled", 7, placed + 600_000 + int(3_000_000 * float(later[j]))))
                elif fate[j] < CANCEL_SHARE + RETURN_SHARE:
                    lives.append(("returned", 8, placed + DAY_MS + int(4 * DAY_MS * float(later[j]))))
                for kind, stage, at in lives:
                    line = f'{{"event_id":"o{stage}{ident}","event_time_ms":{at},{head}{kind}{rest}'
                    self._emit((at, order + stage, "orders", key, line.encode()))

    def _add_incidents(self, minute: int, at_ms: int) -> None:
        """Add this minute's broken records: every kind in turn, at random times."""
        rng = np.random.default_rng([self._seed, 5, minute])
        n = int(rng.poisson(self.config.events_per_minute * self.config.dirty_share))
        first = int(rng.integers(len(DIRTY)))
        for j, at in enumerate(np.sort(rng.integers(minute * MINUTE_MS, (minute + 1) * MINUTE_MS, n)).tolist()):
            incident = DIRTY[(first + j) % len(DIRTY)]
            i = int(rng.integers(len(self.listings)))
            if at < at_ms:
                continue
            good = self.good_record(incident.topic, i, at, f"x{minute:x}-{j:x}")
            for k, line in enumerate(incident.lines(good)):
                self._emit((at, self._base(minute) + j * 16 + 9 + k, incident.topic, self._world.keys[i], line))

    def good_record(self, topic: str, i: int, at_ms: int, ident: str) -> dict[str, Any]:
        """Return a valid record of an input stream for listing ``i``, from which incidents are made.

        Raises
        ------
        ValueError
            If the stream has no such record.
        """
        listing, price = self.listings[i], int(self._world.list_minor[i])
        record: dict[str, Any] = {
            "event_id": ident, "event_time_ms": at_ms, "tenant": listing.tenant, "market": listing.market,
            "sku": listing.sku, "price_group": self._world.price_group[i],
        }  # fmt: skip
        shopper = {"customer": f"{ident}-c", "session": f"{ident}-s", "segment": SEGMENTS[0], "arm": "base"}
        money = {"currency": self._world.currency[i]}
        match topic:
            case "quotes":
                return record | shopper | money | {
                    "price_minor": price, "propensity": 1.0, "table_id": f"list-{price}", "version": 0,
                    "source": "list", "offer_minor": None, "bot": True,
                }  # fmt: skip
            case "clicks":
                return record | shopper | money | {"kind": "view", "price_minor": price, "bot": True}
            case "orders":
                return record | shopper | money | {
                    "kind": "placed", "order_id": f"o{ident}", "line": 0, "quoted_price_minor": price,
                    "price_paid_minor": price, "discount_minor": 0, "quantity": 1,
                }  # fmt: skip
            case "offers":
                return record | money | {
                    "competitor": "rival-a", "price_minor": price, "shipping_minor": 0, "in_stock": True,
                    "pack_size": 1, "source": "simulated", "match_confidence": 1.0,
                }  # fmt: skip
            case "stock":
                return record | {"on_hand": self._stock.on_hand[i], "inbound": 0, "lead_time_days": 1.0}
        raise ValueError(f"topic: expected quotes, clicks, orders, offers or stock; got {topic!r}")

    def _base(self, minute: int) -> int:
        """Return the first order number of a minute, which rises with the minutes."""
        return minute * MAX_VISITS * 16

    def _split_customers(self) -> Array:
        """Return, per market, the number of the first strategic customer.

        Segments have as many customers as their share of the visits.
        """
        world = self._world
        split = np.empty(len(self.config.markets), dtype=np.int64)
        for m in range(len(split)):
            here = world.market == m
            share = np.average(world.shares[here, MYOPIC], weights=world.popularity[here])
            split[m] = np.clip(round(share * self.config.customers), 1, self.config.customers - 1)
        return split
