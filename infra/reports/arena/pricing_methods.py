"""Pricing methods of the arena: Walras, fixed rules, and clairvoyant benchmarks.

Every method runs on the same market: the same assortment, arrivals, shocks, rivals and cost changes, and the same
guardrails: hard bands, the role's bound relative to rivals, and at most one step of the policy's size per hour.

- ``walras``: evidence, rules and beliefs, as deployed.
- ``hourly``: the same beliefs, optimizer and guardrails on a fixed schedule: every listing is optimized at each
  full hour, a better price is shown, and no request between is handled.
- ``revenue_lp``, ``target_lp``, ``thompson`` and the other strategies of ``jobs.pricing.strategies``: on the same
  schedule in place of the profit LP.
- ``cost_plus_15`` … ``cost_plus_50``: cost times 1.15 … 1.5. ``match_rival``: the rivals' mean.
- ``clairvoyant`` (:mod:`infra.reports.arena.clairvoyant`): knows demand, costs and rivals.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from features.books.offers import ReferenceOffer
from features.bucket_logic import Batch, Fact, Output
from features.elasticity.elasticity_logic import SUMS, ElasticityLogic
from features.elasticity.pooling.pooling_logic import ESTIMATES, PoolingLogic
from features.elasticity.settings import ElasticitySettings
from jobs.pricing.bucket.decider import Decider, Trigger
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.bucket.requests import RepricingRequest
from jobs.pricing.decision.inputs import Belief, CurrentTable, DemandBeliefs, PricingInputs, Product
from jobs.pricing.guardrails import GUARDRAILS, AllowedPrices, GuardrailContext, Kind, intersect
from jobs.pricing.policy import Policy
from jobs.pricing.strategies import STRATEGIES, PriceRule, StrategyContext
from jobs.simulation.count_market import LABELS, CountMarket, Minute, Shown
from schemas.causes import Cause
from schemas.events import DEFAULT_SEGMENT
from schemas.price_table import FULL, PriceList, PriceTable
from schemas.time_units import MINUTE_MS, MINUTES_PER_HOUR

METHOD_OF = {"profit_lp": "walras", "cost_plus": "cost_plus_40"}
"""Strategies that run under another name; every other one runs under its own."""
RULES = ("cost_plus_15", "cost_plus_25", "cost_plus_40", "cost_plus_50", "match_rival")
LEARNING_STRATEGIES = tuple(
    strategy.name
    for strategy in STRATEGIES
    if strategy.selectable and strategy.name not in METHOD_OF and strategy.name not in RULES
)
"""Strategies that run with beliefs and guardrails on the fixed schedule."""
METHODS = ("walras", "hourly", *LEARNING_STRATEGIES, *RULES, "clairvoyant")
ROWS = ({"role": "kvi", "rival_ratio": 1.0}, {"role": "traffic", "rival_ratio": 1.05}, {"markup": 0.4})
STRATEGY_SECTIONS: dict[str, Any] = {
    "target_lp": {"units": 150.0},
    "rule_table": {"rows": ROWS},
    "contextual_bandit": {"least_requests": 100},
}
"""The policy's sections of strategies on the fixed schedule; stock is unlimited, and a listing has two visits a
minute."""
SCHEDULE_POLICY = Policy.from_dict({"materiality": {"min_gain_share": 0.0}, "limits": {"min_gap_minutes": 0}})
"""Policy of the fixed schedule: any gain in the mean is enough, and the hour is the gap between two changes."""
LEARNING = ElasticitySettings(conversion=0.05)
"""Settings of elasticity learning; the market's conversion is near this prior, not the policy's .02."""
POINTS = 16
"""Largest number of prices in a price list."""


class PricingMethod(Protocol):
    """A pricing method: takes a minute of the market and returns the prices shown from then on."""

    changes: int

    def step(self, market: CountMarket, minute: Minute) -> Shown:
        """Return the prices shown after this minute; the same object while they do not change."""
        ...


class Walras:
    """The deployed logics in this process: cells in, tables out.

    Parameters
    ----------
    policy : business parameters; None: the defaults.
    logic : class of the repricing logic.
    """

    def __init__(
        self, market: CountMarket, policy: Policy | None = None, logic: type[RepricingLogic] = RepricingLogic
    ) -> None:
        self.policy = policy or Policy()
        self.logic = logic(self.policy)
        self.elasticity = ElasticityLogic(LEARNING)
        self.pools: dict[str, PoolingLogic] = {}
        self.tables: dict[str, PriceTable] = {}
        self.changes = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.estimates: dict[str, dict[str, Any]] = {}
        self.log: Callable[[dict[str, Any]], None] | None = None
        self._row = {x.key: i for i, x in enumerate(market.listings)}
        self._shown = Shown.single(market.list_minor)
        self._facts = 0

    def step(self, market: CountMarket, minute: Minute) -> Shown:
        end_ms = market.now_ms
        batch = Batch(0, end_ms, minute.cells, minute.offers, (), minute.catalog, now_ms=end_ms)
        outputs = list(self.logic.on_batch(batch))
        for sums in self.elasticity.on_batch(batch):
            if sums.stream != SUMS:
                continue
            pool = self.pools.setdefault(sums.key, PoolingLogic(LEARNING))
            for estimate in pool.on_fact(Fact(SUMS, sums.value, end_ms, self._address(SUMS), end_ms)):
                if estimate.stream != ESTIMATES:
                    continue
                self.estimates[estimate.key] = estimate.value
                outputs += self.logic.on_fact(
                    Fact("estimates", estimate.value, end_ms, self._address("estimates"), end_ms)
                )
        return self._show(outputs)

    def _address(self, topic: str) -> str:
        self._facts += 1
        return f"{topic}-0-{self._facts}"

    def _show(self, outputs: Sequence[Output]) -> Shown:
        new_tables: dict[str, PriceTable] = {}
        for output in outputs:
            if output.stream == "decisions":
                self.outcomes[output.value["cause"], output.value["result"]["outcome"]] += 1
                if self.log:
                    self.log(output.value)
            elif output.stream == "tables":
                new_tables[output.key] = PriceTable.from_record(output.value)
        if not new_tables:
            return self._shown
        price, share = self._shown.price, self._shown.share
        if price.shape[2] != POINTS:
            wide = (*price.shape[:2], POINTS)
            price, share = np.broadcast_to(price, wide).copy(), np.zeros(wide)
            share[:, :, 0] = 1.0
        else:
            price, share = price.copy(), share.copy()
        for key, table in new_tables.items():
            previous = self.tables.get(key)
            i = self._row[key]
            old = previous.default_minor if previous else int(self._shown.price[i, 0, 0])
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


def strategy_policy(name: str) -> Policy:
    """Return the policy of a strategy on the fixed schedule."""
    return SCHEDULE_POLICY.overridden({"strategies": {"default": name}, **STRATEGY_SECTIONS})


class ScheduledRepricing(RepricingLogic):
    """Reprice every listing at each full hour and at no other time, except for a listing's first price."""

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy, ScheduledDecider)

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Take a minute without its repricing requests; at a full hour, reprice every listing."""
        outputs = list(super().on_batch(batch))
        at_ms = batch.window_end_ms
        if at_ms % (MINUTES_PER_HOUR * MINUTE_MS):
            return outputs
        assert isinstance(self._decider, ScheduledDecider)
        self._decider.active = True
        for key in self._bucket.index:
            trigger = Trigger(f"hour-{at_ms}", at_ms, batch.now_ms or at_ms)
            outputs += self._decider.decide(key, RepricingRequest(Cause.CONTINUED, {}), trigger)
        self._decider.active = False
        return outputs


class ScheduledDecider(Decider):
    """A decider that ignores requests while it is inactive, except for cold starts."""

    active = False

    def decide_all(
        self, requests: Mapping[str, RepricingRequest], trigger: Trigger, approved: Mapping[str, int] | None = None
    ) -> list[Output]:
        """Decide as deployed, while inactive on first prices alone."""
        taken = {k: each for k, each in requests.items() if self.active or each.cause is Cause.COLD_START}
        return super().decide_all(taken, trigger, approved)


class HourlyPricing(ABC):
    """A pricing method that sets prices within the bands once an hour and counts the changes."""

    def __init__(self, market: CountMarket, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.current = market.list_minor.astype(np.int64).copy()
        self.changes = 0
        self._shown = Shown.single(self.current)

    def step(self, market: CountMarket, minute: Minute) -> Shown:
        return self._shown if market.minutes % MINUTES_PER_HOUR else self._reprice(market)

    @abstractmethod
    def _reprice(self, market: CountMarket) -> Shown:
        """Return the prices of the next hour."""


class RulePricing(HourlyPricing):
    """A rule of ``jobs.pricing.strategies``; each hour prices move towards its price within the bands."""

    def __init__(self, market: CountMarket, rule: PriceRule, policy: Policy | None = None) -> None:
        super().__init__(market, policy)
        self._rule = rule

    def _target(self, market: CountMarket) -> np.ndarray:
        prices = []
        for i, shown in enumerate(self.current.tolist()):
            mean = float(market.offer_minor[i])
            context = StrategyContext(inputs_of(market, i, shown, self.policy), AllowedPrices(1, None), None, mean)
            prices.append(self._rule.price_minor(context))
        return np.array(prices)

    def _reprice(self, market: CountMarket) -> Shown:
        low, high = bands(market, self.current, self.policy)
        new = np.clip(np.round(self._target(market)), low, high).astype(np.int64)
        moved = int((new != self.current).sum())
        if moved:
            self.changes += moved
            self.current = new
            self._shown = Shown.single(new)
        return self._shown


def inputs_of(market: CountMarket, i: int, shown_minor: int, policy: Policy) -> PricingInputs:
    """Return what a rule and the guardrails read of a listing that shows this price."""
    cost = float(market.cost_minor[i])
    nothing = DemandBeliefs(0.0, {}, Belief(0.0, 1.0), Belief(0.0, 1.0))
    return PricingInputs(
        listing=market.listings[i],
        at_ms=market.now_ms,
        cause=Cause.CONTINUED,
        seed=0,
        currency=market.world.currency[i],
        product=Product(
            cost_minor=cost,
            trusted_cost_minor=cost,
            list_minor=float(market.list_minor[i]),
            floor_minor=float(market.world.floor_minor[i]),
            ceiling_minor=float(market.world.ceiling_minor[i]),
            role=market.world.role[i],
        ),
        beliefs=nothing,
        policy=policy,
        current=CurrentTable(shown_minor, {DEFAULT_SEGMENT: PriceList((shown_minor,), (FULL,))}),
    )


def bands(market: CountMarket, current: np.ndarray, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest price per listing that guardrails and roles allow within one step."""
    lows, highs = [], []
    for i, shown in enumerate(current.tolist()):
        mean = float(market.offer_minor[i])
        inputs = inputs_of(market, i, shown, policy)
        rivals = ReferenceOffer(mean, round(mean), round(mean), 1, market.now_ms, fresh=True)
        context = GuardrailContext(inputs, rivals, candidate_minor=shown)
        bands_found = [band for band in (g.band(context, policy) for g in GUARDRAILS) if band is not None]
        hard = intersect(band for band in bands_found if band.kind is Kind.HARD)
        whole = intersect(bands_found)
        follow = policy.roles.follow_ratio(market.world.role[i])
        top = hard.high if hard.high is not None else shown * 10
        if follow is not None:
            top = max(hard.low, min(top, math.floor(mean * follow)))
        if whole.empty or whole.low > top:
            # After a cost rise, or far below the rivals: the nearest price in the hard band, or a step to it.
            low = high = hard.nearest(max(top, math.ceil(shown * (1 - policy.limits.max_step))))
        else:
            low, high = whole.low, min(top, whole.high if whole.high is not None else top)
        lows.append(low)
        highs.append(high)
    return np.array(lows), np.array(highs)
