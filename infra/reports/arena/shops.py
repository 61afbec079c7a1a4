"""The arena's market and who prices in it: Walras, simple ways of pricing, and those who know the truth.

Every shop meets the same market: the same assortment, arrivals, shocks, rivals and cost changes, and the same
guardrails: hard bands, the role's bound beside rivals, one step of at most the policy's size an hour.

- ``walras``: evidence, rules and beliefs, as deployed.
- ``hourly``: the same beliefs, optimizer and guardrails, but a fixed schedule: everything is re-optimized every
  full hour, what comes out better is shown, and nothing is looked at between.
- ``cost_plus_15`` … ``cost_plus_50``: cost times 1.15 … 1.5. ``match_rival``: the rivals' mean.
- ``clairvoyant``: knows demand, costs and rivals; each hour the best price of each segment. Where demand
  remembers (reference price, pantries), the best of three who know: one maximises the next request, one the
  long run in which memories have caught up, one goes there so slowly that no memory is startled. An
  optimum over all ways of moving a memory is not tried, so a shop may come out above it there.

Over 300 lines: one market and its shops, each of which is a way to answer :meth:`Shop.take`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from features.bucket_logic import Batch, Fact, Output
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling_logic import PoolingLogic
from jobs.pricing.bucket.decider import Decider
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.grid import price_grid
from jobs.pricing.guardrails import GUARDRAILS, Case, Kind, meet
from jobs.pricing.policy import Policy
from jobs.simulation.config import MARKETS, CostChange, MarketConfig, RivalMove, Shock
from jobs.simulation.count_market import LABELS, CountMarket, Minute, Shown
from jobs.simulation.demand import Logit, ReferencePrice
from jobs.simulation.world import events_per_visit
from schemas.codes import Cause
from schemas.price_table import FULL, PriceTable
from schemas.time_units import MINUTE_MS
from schemas.time_units import MINUTES_PER_DAY as DAY
from schemas.time_units import MINUTES_PER_HOUR as HOUR

SIMPLE = ("cost_plus_15", "cost_plus_25", "cost_plus_40", "cost_plus_50", "match_rival")
SHOPS = ("walras", "hourly", *SIMPLE, "clairvoyant")
PATIENCE = (0.96, 1.03)
"""How far below and above what shoppers remember a patient price lies at most."""
IMPATIENT = Policy.from_dict({"materiality": {"min_gain_share": 0.0}, "limits": {"min_gap_minutes": 0}})
"""The schedule's policy: what is better in the mean is shown; the hour itself is the gap between two changes."""
POINTS = 16
VISITS_PER_LISTING = 2.0


def market_config(family: str, seed: int, listings: int, days: float) -> MarketConfig:
    """A market of one country with shocks, rivals' moves and cost changes drawn from the seed."""
    rng = np.random.default_rng([seed, 77])
    name, minutes = MARKETS[0].name, int(days * DAY)

    def moments(count: int) -> list[int]:
        return sorted(int(t) for t in rng.integers(minutes // 7, max(minutes * 6 // 7, minutes // 7 + 1), count))

    def ranks(count: int) -> list[int]:
        return [int(r) for r in rng.integers(0, listings, count)]

    def one_of(*values: float) -> float:
        return float(values[int(rng.integers(len(values)))])

    some = max(2, listings // 6)
    base = MarketConfig(
        markets=MARKETS[:1],
        skus=listings,
        family=family,
        shocks=tuple(
            Shock(t, name, r, one_of(0.5, 0.7, 1.4, 2.0), "readiness" if j % 2 else "arrivals")
            for j, (t, r) in enumerate(zip(moments(some), ranks(some), strict=True))
        ),
        rival_moves=tuple(
            RivalMove(t, name, r, one_of(0.86, 0.9, 1.12)) for t, r in zip(moments(some), ranks(some), strict=True)
        ),
        cost_changes=tuple(
            CostChange(t, name, r, one_of(0.92, 1.08, 1.12))
            for t, r in zip(moments(some), ranks(some), strict=True)
        ),
        calendar=(),
    )
    visits = VISITS_PER_LISTING * listings
    return MarketConfig(**{**_fields(base), "events_per_minute": visits * events_per_visit(base)})


def _fields(config: MarketConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


class Shop(Protocol):
    """A way of pricing: sees a minute, answers with what it shows from now on."""

    changes: int

    def take(self, market: CountMarket, minute: Minute) -> Shown:
        """What is shown after this minute; the same object while nothing changes."""
        ...


class Walras:
    """The deployed logics, hosted here: cells in, tables out.

    Parameters
    ----------
    policy : the business numbers, the defaults without one.
    logic : decides; the deployed one without another.
    """

    def __init__(
        self, market: CountMarket, policy: Policy | None = None, logic: type[RepricingLogic] = RepricingLogic
    ) -> None:
        self.policy = policy or Policy()
        self.logic = logic(self.policy)
        self.elasticity = ElasticityLogic()
        self.pools: dict[str, PoolingLogic] = {}
        self.tables: dict[str, PriceTable] = {}
        self.changes = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.estimates: dict[str, dict[str, Any]] = {}
        self.log: Callable[[dict[str, Any]], None] | None = None
        self._row = {x.key: i for i, x in enumerate(market.listings)}
        self._shown = Shown.single(market.list_minor)
        self._facts = 0

    def take(self, market: CountMarket, minute: Minute) -> Shown:
        end_ms = market.now_ms
        batch = Batch(0, end_ms, minute.cells, minute.offers, (), minute.catalog, now_ms=end_ms)
        outputs = list(self.logic.on_batch(batch))
        for sums in self.elasticity.on_batch(batch):
            pool = self.pools.setdefault(sums.key, PoolingLogic())
            for told in pool.on_fact(Fact("sums", sums.value, end_ms, self._address("sums"), end_ms)):
                self.estimates[told.key] = told.value
                outputs += self.logic.on_fact(
                    Fact("estimates", told.value, end_ms, self._address("estimates"), end_ms)
                )
        return self._show(outputs)

    def _address(self, topic: str) -> str:
        self._facts += 1
        return f"{topic}-0-{self._facts}"

    def _show(self, outputs: Sequence[Output]) -> Shown:
        fresh: dict[str, PriceTable] = {}
        for output in outputs:
            if output.stream == "decisions":
                self.outcomes[output.value["cause"], output.value["result"]["outcome"]] += 1
                if self.log:
                    self.log(output.value)
            elif output.stream == "tables":
                fresh[output.key] = PriceTable.from_record(output.value)
        if not fresh:
            return self._shown
        price, share = self._shown.price, self._shown.share
        if price.shape[2] != POINTS:
            wide = (*price.shape[:2], POINTS)
            price, share = np.broadcast_to(price, wide).copy(), np.zeros(wide)
            share[:, :, 0] = 1.0
        else:
            price, share = price.copy(), share.copy()
        for key, table in fresh.items():
            before = self.tables.get(key)
            i = self._row[key]
            old = before.default_minor if before else int(self._shown.price[i, 0, 0])
            self.changes += table.default_minor != old
            self.tables[key] = table
            for lab, label in enumerate(LABELS):
                prices = table.price_list(self.policy.tables.arm, label)
                widths = np.diff(np.array((-1, *prices.cumulative))) / (FULL + 1)
                price[i, lab] = prices.prices[-1]
                price[i, lab, : len(widths)] = prices.prices
                share[i, lab] = 0.0
                share[i, lab, : len(widths)] = widths
        self._shown = Shown(price, share)
        return self._shown


class Scheduled(RepricingLogic):
    """Decides when the hour strikes, on every listing, and at no other time; a first price comes at once."""

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy, Clocked)

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """The minute as it is deployed, without its looks; at a full hour a look at every listing."""
        outputs = list(super().on_batch(batch))
        at_ms = batch.window_end_ms
        if at_ms % (HOUR * MINUTE_MS):
            return outputs
        assert isinstance(self._decider, Clocked)
        self._decider.strikes = True
        for key in self._bucket.index:
            outputs += self._decider.decide(
                key, Cause.CONTINUED, {}, f"hour-{at_ms}", at_ms, batch.now_ms or at_ms
            )
        self._decider.strikes = False
        return outputs


class Clocked(Decider):
    """A decider that hears nothing until its hour strikes, but for a listing's start."""

    strikes = False

    def decide(self, key: str, cause: Cause, *rest: Any, **more: Any) -> list[Output]:
        """As deployed, or nothing."""
        return super().decide(key, cause, *rest, **more) if self.strikes or cause is Cause.COLD_START else []


class ByTheHour(ABC):
    """A shop that thinks each hour, inside the bands: what it shows, and how often that changed."""

    def __init__(self, market: CountMarket, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.current = market.list_minor.astype(np.int64).copy()
        self.changes = 0
        self._shown = Shown.single(self.current)

    def take(self, market: CountMarket, minute: Minute) -> Shown:
        return self._shown if market.minutes % HOUR else self._think(market)

    @abstractmethod
    def _think(self, market: CountMarket) -> Shown:
        """New prices, once an hour."""


class Ruled(ByTheHour):
    """A shop with one rule: each hour towards its aim, in steps, inside the same bands."""

    def __init__(
        self, market: CountMarket, aim: Callable[[CountMarket], Any], policy: Policy | None = None
    ) -> None:
        super().__init__(market, policy)
        self._aim = aim

    def _think(self, market: CountMarket) -> Shown:
        low, high = bands(market, self.current, self.policy)
        new = np.clip(np.round(self._aim(market)), low, high).astype(np.int64)
        moved = int((new != self.current).sum())
        if moved:
            self.changes += moved
            self.current = new
            self._shown = Shown.single(new)
        return self._shown


class Clairvoyant(ByTheHour):
    """Knows the truth: each hour the best price of each segment within the bands.

    ``long_run``: as if shoppers' memories had caught up with every price (and pantries were as usual).
    ``patient``: and never more than a few per cent from what shoppers remember, so that nobody hoards.
    """

    def __init__(
        self, market: CountMarket, policy: Policy | None = None, long_run: bool = False, patient: bool = False
    ) -> None:
        super().__init__(market, policy)
        self.long_run, self.patient = long_run, patient

    def _think(self, market: CountMarket) -> Shown:
        low, high = bands(market, self.current, self.policy)
        if self.patient and isinstance(market.family, ReferencePrice):
            nearest = (
                np.ceil(market.family.reference_price * PATIENCE[0]),
                np.floor(market.family.reference_price * PATIENCE[1]),
            )
            low, high = (
                np.minimum(np.maximum(low, nearest[0]), high),
                np.maximum(np.minimum(high, nearest[1]), low),
            )
        points = [
            price_grid(int(lo), int(hi), int(lst), self.policy.grid) or [int(cur)]
            for lo, hi, lst, cur in zip(low, high, market.list_minor, self.current, strict=True)
        ]
        width = max(len(p) for p in points)
        grid = np.array([p + [p[-1]] * (width - len(p)) for p in points])
        price = np.repeat(grid[:, None, :], len(LABELS), axis=1)
        best = np.argmax(self._value(market, price), axis=2)
        chosen = np.take_along_axis(price, best[:, :, None], axis=2)
        if not np.array_equal(chosen, self._shown.price):
            self.changes += int((chosen[:, 0, 0] != self.current).sum())
            self.current = chosen[:, 0, 0].copy()
            self._shown = Shown(chosen, np.ones(chosen.shape))
        return self._shown

    def _value(self, market: CountMarket, price: np.ndarray) -> np.ndarray:
        if not self.long_run:
            return market.profit_per_request(price)
        family = market.family
        market.family = Logit(family.parameters)
        try:
            return market.profit_per_request(price)
        finally:
            market.family = family


def bands(market: CountMarket, current: np.ndarray, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """What the guardrails and the roles allow now, one step from the current prices: low and high per listing."""
    lows, highs = [], []
    for i, shown in enumerate(current.tolist()):
        mean = float(market.offer_minor[i])
        case = Case(
            now_ms=market.now_ms, cause=Cause.CONTINUED, currency=market.world.currency[i], current_minor=shown,
            cost_minor=float(market.cost_minor[i]), trusted_cost_minor=float(market.cost_minor[i]),
            list_minor=float(market.list_minor[i]), floor_minor=float(market.world.floor_minor[i]),
            ceiling_minor=float(market.world.ceiling_minor[i]), rivals_mean_minor=mean, candidate_minor=shown,
        )  # fmt: skip
        said = [band for band in (g.band(case, policy) for g in GUARDRAILS) if band is not None]
        hard = meet(band for band in said if band.kind is Kind.HARD)
        whole = meet(said)
        follow = policy.roles.follow_ratio(market.world.role[i])
        top = hard.high if hard.high is not None else shown * 10
        if follow is not None:
            top = max(hard.low, min(top, math.floor(mean * follow)))
        if whole.empty or whole.low > top:
            # A cost rise, or rivals far below: the nearest hard-legal price, or one step towards them.
            low = high = hard.nearest(max(top, math.ceil(shown * (1 - policy.limits.max_step))))
        else:
            low, high = whole.low, min(top, whole.high if whole.high is not None else top)
        lows.append(low)
        highs.append(high)
    return np.array(lows), np.array(highs)


def open_shop(name: str, market: CountMarket) -> Shop:
    """A shop by its name.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    match name.split("_"):
        case ["walras"]:
            return Walras(market)
        case ["hourly"]:
            return Walras(market, IMPATIENT, Scheduled)
        case ["cost", "plus", markup] if markup.isdigit():
            return Ruled(market, lambda m: m.cost_minor * (1 + int(markup) / 100))
        case ["match", "rival"]:
            return Ruled(market, lambda m: m.offer_minor)
        case ["clairvoyant"]:
            return Clairvoyant(market)
        case ["clairvoyant", "long"]:
            return Clairvoyant(market, long_run=True)
        case ["clairvoyant", "patient"]:
            return Clairvoyant(market, long_run=True, patient=True)
    raise ValueError(f"shop: expected one of {', '.join(SHOPS)}; got {name!r}")
