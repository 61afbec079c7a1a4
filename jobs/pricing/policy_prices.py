"""Sections of the policy for what prices are proposed: grid, objective, exploration, strategies, price groups.

Descriptions cite sections of the science page (science § 7, below § 7) and decisions by number;
:mod:`jobs.pricing.policy` states the conventions.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field, model_validator

from jobs.pricing.policy_section import DEPLOYMENT, Number, PolicySection, Share


@cache
def strategy_names() -> frozenset[str]:
    """Return the names that the section ``strategies`` may hold."""
    from jobs.pricing.strategies import STRATEGIES

    return frozenset(strategy.name for strategy in STRATEGIES if strategy.selectable)


class PriceGrid(PolicySection):
    """Candidate prices ``k * step - ending`` (003 Eq. 3, § 7)."""

    live = True

    step_share: Share = Field(
        default=0.02, gt=0, description="step as a share of the list price, rounded to 1, 2 or 5 × 10^k"
    )
    ending_minor: int = Field(
        default=1, ge=0, description="prices end this many minor units below a multiple of the step"
    )
    span_share: Share = Field(
        default=0.25, gt=0, description="candidates lie within this share of the current price"
    )
    max_prices: int = Field(
        default=41, ge=2, le=500, description="largest number of prices in a grid; the step is widened to fit"
    )


class Objective(PolicySection):
    """The objective that prices maximise, and its period (§ 7)."""

    live = True

    cost_weight: Share = Field(default=1.0, description="ω: 1 profit, 0 revenue as in 003 Eq. 4 (§ 7)")
    period_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=1_440,
        ge=1,
        description="period in minutes of requests, targets and gains (§ 7)",
    )
    may_close: bool = Field(default=False, description="true: a segment may get no quote (C≤); false: (C=) (§ 7)")
    stock_as_target: bool = Field(
        default=True, description="stock on hand must last until the next delivery (T of § 7)"
    )
    target_weighting: Literal["time", "volume"] = Field(
        default="time",
        description="time: a sale target is spread evenly; volume: in proportion to expected requests (003 § J)",
    )


class Exploration(PolicySection):
    """Select probabilities of prices that are not optimal by the current estimates (§ 7)."""

    live = True

    mode: Literal["bounded", "thompson", "none"] = Field(
        default="bounded",
        description="bounded: minimum propensities; thompson: sampled sale probabilities; none (§ 7)",
    )
    propensity: Share = Field(
        default=0.02, le=0.1, description="minimum select probability of a neighbouring price (§ 7)"
    )
    neighbours: int = Field(
        default=2, ge=0, le=5, description="allowed grid prices on each side that are explored (§ 7)"
    )
    far_propensity: Share = Field(
        default=0.04,
        le=0.1,
        description="minimum select probability of the lowest and highest allowed price within a step "
        "(decision 19)",
    )
    far_budget: Share = Field(
        default=0.001,
        description="share of a segment's value that showing its lowest or highest price may cost (§ 7)",
    )
    far_most: Share = Field(default=0.1, description="largest select probability that far_budget gives (§ 7)")
    far_until: Share = Field(
        default=0.5,
        description="the far prices are explored while the half width of the elasticity's 90 % interval exceeds "
        "this share of it (decision 57)",
    )


class Materiality(PolicySection):
    """Minimum gain of a change (§ 7)."""

    live = True

    min_gain_share: Share = Field(
        default=0.002, description="smallest gain of a change, as a share of the period's value (§ 7)"
    )
    min_gain_minor: int = Field(
        default=0, ge=0, description="smallest gain of a change per period, in minor units (§ 7)"
    )


class Groups(PolicySection):
    """Price groups: listings of one market and catalog ``price_group`` (§ 7)."""

    live = True

    equal_price: bool = Field(
        default=True,
        description="true: the listings of a price group have one price, decided jointly (decision 62)",
    )
    minimum_sales: Number = Field(
        default=0.0,
        ge=0,
        description="units that each member of a group sells at least in the period, as far as its stock allows; "
        "0: no minimum (decision 62)",
    )


class Strategies(PolicySection):
    """The strategy that proposes prices (:mod:`jobs.pricing.strategies`), by name."""

    live = True

    cold_start: str = Field(default="cold_start", description="proposes the first price of a listing (§ 5)")
    default: str = Field(default="profit_lp", description="proposes all later prices (§ 7)")
    by_role: dict[str, str] = Field(default_factory=dict, description="role → strategy, in place of the default")
    shadow: tuple[str, ...] = Field(
        default=(), description="computed with every decision and recorded beside it, never published (§ 7)"
    )
    allowed_by_role: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="role → strategies that may be chosen for it; a role that is not listed: all (003 § A)",
    )

    @model_validator(mode="after")
    def _known(self) -> Strategies:
        known = strategy_names()
        if len(set(self.shadow)) != len(self.shadow):
            raise ValueError(f"expected distinct shadow strategies, got {', '.join(self.shadow)}")
        for name in (self.cold_start, self.default, *self.by_role.values(), *self.shadow):
            if name not in known:
                raise ValueError(f"expected strategies among {', '.join(sorted(known))}, got {name!r}")
        for role, allowed in self.allowed_by_role.items():
            for name in allowed:
                if name not in known:
                    expected = ", ".join(sorted(known))
                    raise ValueError(f"allowed_by_role.{role}: expected strategies among {expected}, got {name!r}")
            if (chosen := self.of_role(role)) not in allowed:
                key = f"by_role.{role}" if role in self.by_role else "default"
                raise ValueError(
                    f"allowed_by_role.{role}: expected the strategy that {key} chooses for it, {chosen!r}, among "
                    f"{', '.join(allowed) or 'no strategy'}; allow it, or choose another one in by_role.{role}"
                )
        return self

    def named(self) -> frozenset[str]:
        """Return the names of all strategies that the policy uses, shadows included."""
        return frozenset((self.cold_start, self.default, *self.by_role.values(), *self.shadow))

    def allows(self, role: str | None, name: str) -> bool:
        """Return whether a strategy may be chosen for a role.

        >>> chosen = Strategies(by_role={"kvi": "match_rival"}, allowed_by_role={"kvi": ("match_rival",)})
        >>> chosen.allows("kvi", "profit_lp"), chosen.allows("margin", "profit_lp")
        (False, True)
        """
        allowed = self.allowed_by_role.get(role or "")
        return allowed is None or name in allowed

    def of_role(self, role: str | None) -> str:
        """Return the name of a role's strategy.

        >>> Strategies(by_role={"kvi": "match_rival"}).of_role("kvi"), Strategies().of_role("kvi")
        ('match_rival', 'profit_lp')
        """
        return self.by_role.get(role or "", self.default)
