r"""contextual_bandit: the step of the price with the largest upper bound of its reward (science § 7).

Arms are steps on the price grid from the current price. The context of a listing is

  x = s (1, l, l², g, w, sin h, cos h)
  l = log(P/P₀)/d,  g = log(ō/P)/d,  w = log of the stock's cover in periods,  h = 2π·hour/24

with P the current price, P₀ the list price, ō the rivals' fresh mean, d = ``limits.max_step`` and s the prior's
standard deviation; l, g and w lie within ±3, and g and w are 0 where they are not known. With l and l² in the
context of every arm, profit may be a quadratic function of the log price. The reward is the profit per request at
the chosen price, relative to the believed one b at P₀: r = profit / (requests · b) − 1.
"""

from __future__ import annotations

import math
from typing import ClassVar

from features.books.price_bandit import choose_arm
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.valuation import value_prices
from jobs.pricing.grid import grid_step
from jobs.pricing.policy_section import Field, Number, PolicySection, check_section
from jobs.pricing.strategies.base import PriceRule, StrategyContext
from schemas.time_units import DAY_MS, MINUTE_MS

_FARTHEST = 3.0
"""Bound of the numbers of a context."""


class ContextualBanditSettings(PolicySection):
    """The policy's section ``contextual_bandit``."""

    key: ClassVar[str] = "contextual_bandit"

    steps: tuple[int, ...] = Field(
        default=(-4, -2, 0, 2, 4),
        min_length=2,
        max_length=9,
        description="arms: steps on the price grid (science § 7)",
    )
    least_requests: int = Field(
        default=500,
        ge=1,
        description="price requests at the chosen price before its reward is learned (science § 7)",
    )
    noise_sd: Number = Field(
        default=0.3, gt=0, description="σ: sd of one reward, as a share of the profit (science § 7)"
    )
    prior_sd: Number = Field(
        default=0.1, gt=0, description="s: sd of a weight before data, as a share of the profit (science § 7)"
    )

    @check_section
    def _keeps_the_price(self) -> ContextualBanditSettings:
        if list(self.steps) != sorted(set(self.steps)) or 0 not in self.steps:
            raise ValueError(f"expected distinct ascending steps with 0 among them, got {list(self.steps)}")
        return self


class ContextualBandit(PriceRule):
    """The current price moved by the step that LinUCB chooses; without beliefs about any step a drawn one.

    While the reward of the last step is being counted, the price is kept. Steps to prices outside the hard bands
    are not chosen.

    References
    ----------
    Li, Chu, Langford, Schapire: A contextual-bandit approach to personalized news article recommendation (2010).
    """

    name = "contextual_bandit"
    continues = False
    explores = False
    settings = ContextualBanditSettings

    def starts_from_current(self, inputs: PricingInputs) -> bool:
        """Return True: an arm is a step from the current price."""
        return True

    def price_minor(self, context: StrategyContext) -> float:
        """Return the current price plus the chosen step."""
        inputs = context.inputs
        settings, shown = inputs.policy.section(ContextualBanditSettings), inputs.shown_minor
        if shown is None or inputs.bandit is None or inputs.bandit.waiting:
            return shown or inputs.base_minor or 0.0
        x = bandit_context(inputs, context.rivals_mean_minor)
        size = grid_step(inputs.base_minor or 0.0, inputs.policy.grid)
        steps = [step for step in settings.steps if step == 0 or shown + step * size in context.allowed]
        return shown + size * choose_arm(dict(inputs.bandit.arms), steps, x, settings.noise_sd, inputs.seed)


def bandit_context(inputs: PricingInputs, rivals_mean_minor: float | None) -> tuple[float, ...]:
    """Return x of a decision [7]; the module's docstring states it."""
    policy, attributes = inputs.policy, inputs.attributes
    scale, shown, base = policy.limits.max_step, inputs.shown_minor or 0, inputs.base_minor or 0.0
    level = _log_ratio(shown, base) / scale
    gap = _log_ratio(rivals_mean_minor or 0.0, shown) / scale
    periods = 0.0
    if attributes is not None and attributes.cover_days is not None:
        periods = attributes.cover_days * DAY_MS / (policy.objective.period_minutes * MINUTE_MS)
    level, gap, cover = (max(-_FARTHEST, min(x, _FARTHEST)) for x in (level, gap, _log_ratio(periods, 1.0)))
    angle = 2 * math.pi * (attributes.hour if attributes is not None else 0) / 24
    numbers = (1.0, level, level * level, gap, cover, math.sin(angle), math.cos(angle))
    return tuple(policy.section(ContextualBanditSettings).prior_sd * x for x in numbers)


def list_price_profit(inputs: PricingInputs) -> float:
    """Return b: the believed profit per request at the list price, else at the current one; minor units."""
    price = round(inputs.base_minor or inputs.shown_minor or 0)
    reference = inputs.reference()
    worth = value_prices(inputs, [price], reference.mean_minor if reference and reference.fresh else None)
    _, value = worth.expect({segment: {price: 1.0} for segment in worth.segments})
    return value / inputs.beliefs.requests if inputs.beliefs.requests > 0 else 0.0


def _log_ratio(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else 0.0
