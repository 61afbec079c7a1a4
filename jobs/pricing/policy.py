"""Policy: every business number of features, learning and decisions, in one frozen, validated object.

A policy is read from YAML, rejects unknown keys and is embedded in every decision, so that a decision can be
recomputed. Its identity is the hash of its content.

Shares and ratios are fractions (``.10`` is 10 %), money is in minor units, and the name or the description of a
time states its unit. A description cites its source: a section of the science page (science § 3, below § 3), a
decision by number, or a source document by three digits. :mod:`jobs.pricing.policy_settings` maps the keys to the
settings of features and learning.

The module has over 300 lines because it lists each number of decisions with its meaning and source, and validates
the whole. The sections of learning, features and the watcher are in modules of their own beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from jobs.pricing.policy_features import Features
from jobs.pricing.policy_learning import Beliefs, Demand, Drift, Elasticity, Sufficiency
from jobs.pricing.policy_section import DEPLOYMENT, Number, PolicySection, Share
from jobs.pricing.policy_watch import Watch
from schemas.events import DEFAULT_ARM

SectionT = TypeVar("SectionT", bound=PolicySection)


class PolicyError(ValueError):
    """An invalid policy; the message has one part per wrong key, with the expected and the actual value."""


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


class Segments(PolicySection):
    """Customer segments that are priced, and the rule that assigns customers to them (§ 2)."""

    live = True

    names: tuple[str, ...] = Field(
        json_schema_extra=DEPLOYMENT,
        default=("all", "myopic", "strategic"),
        min_length=1,
        description="segments with prices of their own; 'all': customers without a known segment",
    )
    prior_shares: tuple[Share, ...] = Field(
        json_schema_extra=DEPLOYMENT,
        default=(0.2, 0.4, 0.4),
        description="share of requests per segment before any data (§ 2)",
    )
    share_weight: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=50.0,
        gt=0,
        description="weight of the prior shares, in requests (§ 2)",
    )
    uniform: bool = Field(default=False, description="one price for all segments, where the law requires it (§ 8)")
    myopia_threshold: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.20,
        description="a customer with a larger share of purchases above the rivals' price is myopic (003 § G)",
    )
    smoothing_purchases: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=1.0,
        ge=0,
        description="w: weight of the prior in a customer's share, in purchases (§ 2)",
    )
    myopia_prior_share: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.09,
        description="m: share of purchases above the rivals' price before any data (003 § I)",
    )
    myopia_prior_weight: Number = Field(
        json_schema_extra=DEPLOYMENT, default=20.0, gt=0, description="α: its weight, in purchases (§ 2)"
    )
    sample_customers: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=256,
        ge=1,
        description="customers in the sample of a tenant and shard (§ 2)",
    )
    memory_days: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=30,
        ge=1,
        le=3_650,
        description="days of event time per period of a customer's purchases; the stream keeps the last periods, "
        "Redis keeps all (decision 44)",
    )

    @model_validator(mode="after")
    def _as_many_shares(self) -> Segments:
        if len(self.names) != len(self.prior_shares) or abs(sum(self.prior_shares) - 1) > 1e-9:
            raise ValueError(f"expected {len(self.names)} prior_shares that sum to 1, got {self.prior_shares}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"expected distinct segment names, got {self.names}")
        return self


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


class Margin(PolicySection):
    """MIN_MARGIN, and the confirmation of costs (§ 8)."""

    live = True

    min_margin: Share = Field(default=0.10, lt=1.0, description="minimum of (p - c)/p (001)")
    cost_jump: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.50,
        gt=0,
        description="a larger relative cost change is not used until it is confirmed (§ 8)",
    )
    cost_jump_scale: Literal["log", "share"] = Field(
        json_schema_extra=DEPLOYMENT,
        default="log",
        description="log: a rise to 1 + cost_jump times and a fall to 1 / (1 + cost_jump) are equally far; "
        "share: a rise and a fall by cost_jump are (decision 42)",
    )
    cost_tolerance: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.05,
        description="costs within this share of each other agree (decision 42)",
    )
    confirm_after_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=60,
        ge=0,
        description="an agreeing cost this long after the first one confirms it (decision 42)",
    )
    trust_after_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=20_160,
        ge=0,
        description="the last cost is used after costs have differed on one side for this long (decision 42)",
    )


class Market(PolicySection):
    """Use of rivals' offers: validity, matching, caps and the moves that request a repricing (§ 8)."""

    live = True

    cap_trigger_ratio: Number = Field(
        default=2.0, gt=1, description="candidate over the rivals' mean above which the cap applies (001)"
    )
    cap_ratio: Number = Field(default=1.5, gt=0, description="the cap, as a multiple of the rivals' mean (001)")
    offer_validity_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=1_440,
        ge=1,
        description="validity in minutes of an offer that states none (001)",
    )
    min_match_confidence: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.5,
        description="offers with a lower match confidence are ignored (§ 8)",
    )
    offer_jump: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.5,
        gt=0,
        description="a larger change of a rival's price is ignored until it is received twice (§ 8)",
    )
    max_rivals: int = Field(
        json_schema_extra=DEPLOYMENT, default=16, ge=1, le=256, description="offers kept per listing"
    )
    move_share: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.005,
        description="smallest relative change of a rival's price that requests a repricing (decision 42)",
    )
    move_of_usual: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.2,
        ge=0,
        description="and smallest change as a share of the mean size of the rival's changes (decision 42)",
    )
    usual_weight: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.2,
        gt=0,
        description="weight of the newest change in that mean (decision 42)",
    )

    @model_validator(mode="after")
    def _cap_below_trigger(self) -> Market:
        if self.cap_ratio > self.cap_trigger_ratio:
            raise ValueError(
                f"expected cap_ratio ≤ cap_trigger_ratio {self.cap_trigger_ratio}, got {self.cap_ratio}"
            )
        return self


class Roles(PolicySection):
    """Highest price of a listing by its role, as a multiple of the rivals' fresh mean (003 § A, decision 9).

    The bound is separate from the demand model: a rival's price scales the whole demand curve, which does not move
    its optimum. A role without a bound does not follow rivals. The bound yields to hard bands and to the pace.
    """

    live = True

    kvi: Number | None = Field(default=1.0, gt=0, description="bound of a known value item (003 § A)")
    traffic: Number | None = Field(default=1.05, gt=0, description="bound of a traffic item (decision 9)")
    margin: Number | None = Field(default=1.25, gt=0, description="bound of a margin item (decision 9)")
    long_tail: Number | None = Field(
        default=None, gt=0, description="bound of a long-tail item; null: none (decision 9)"
    )

    def follow_ratio(self, role: str) -> float | None:
        """Return the bound of a role; None for an unknown role."""
        ratio: float | None = getattr(self, role, None) if role in type(self).model_fields else None
        return ratio


class Limits(PolicySection):
    """FLOOR_CEILING where the catalog gives none, and limits of the pace (§ 8)."""

    live = True

    ceiling_over_list: Number = Field(
        default=1.5, ge=1, description="ceiling as a multiple of the list price, without one in the catalog (§ 8)"
    )
    max_step: Share = Field(default=0.10, gt=0, description="STEP_LIMIT: largest relative change (§ 8)")
    approval_over: Share = Field(
        default=0.20, gt=0, description="APPROVAL: a larger change needs an operator's approval (001)"
    )
    approval_minutes: int = Field(
        default=1_440, ge=1, description="minutes within which an approval may be given and used (§ 8)"
    )
    min_gap_minutes: int = Field(default=60, ge=0, description="MIN_GAP: minutes between two changes (§ 8)")
    max_changes_per_day: int = Field(default=8, ge=1, description="MAX_CHANGES: changes per market day (§ 8)")
    min_confidence: Share = Field(default=0.5, description="LOW_CONFIDENCE: smallest P(gain > 0) (decision 16)")


class LocalTimes(PolicySection):
    """Local time of the markets: days of features and limits, hours and weekdays of requests."""

    time_zones: dict[str, str] = Field(
        default_factory=dict, description="market → IANA time zone; UTC where absent (decision 45)"
    )

    @model_validator(mode="after")
    def _known_zones(self) -> LocalTimes:
        for market, zone in self.time_zones.items():
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(
                    f"time_zones.{market}: expected an IANA time zone such as Europe/Berlin, got {zone!r}"
                ) from error
        return self


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


class Tables(PolicySection):
    """Lifetime of price tables (§ 7)."""

    live = True

    life_minutes: int = Field(default=1_440, ge=2, description="lifetime of a table in minutes")
    renew_share: Share = Field(
        default=0.25, gt=0, lt=1, description="a table is renewed when this share of its life is left"
    )
    arm: str = Field(
        json_schema_extra=DEPLOYMENT, default=DEFAULT_ARM, description="arm of the published tables (§ 10)"
    )


def _problems(error: ValidationError, *inside: str) -> list[str]:
    """Return one line per wrong key: the key, the expected and the actual value."""
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in (*inside, *problem["loc"])) or "(whole)"
        what = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{key}: {what[0].lower()}{what[1:]}; got {problem['input']!r}")
    return lines


_TO_ZONES = "local_time.time_zones, which names an IANA time zone per market"
MOVED_KEYS = {("limits", "day_offset_minutes"): _TO_ZONES, ("features", "time_zones"): _TO_ZONES}
"""Keys of earlier policies: section and name → the key that replaced it."""


def _refuse_moved_keys(content: Mapping[str, Any], source: str) -> None:
    for (section, name), now in MOVED_KEYS.items():
        keys = content.get(section)
        if isinstance(keys, Mapping) and name in keys:
            raise PolicyError(f"{source}: {section}.{name}: replaced by {now}; got {keys[name]!r}")


def without_moved_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded policy without :data:`MOVED_KEYS`.

    >>> without_moved_keys({"limits": {"max_step": 0.1, "day_offset_minutes": {}}})
    {'limits': {'max_step': 0.1}}
    """
    moved: dict[str, set[str]] = {}
    for section, name in MOVED_KEYS:
        moved.setdefault(section, set()).add(name)
    return {
        section: {name: value for name, value in keys.items() if name not in moved[section]}
        if section in moved and isinstance(keys, Mapping)
        else keys
        for section, keys in content.items()
    }


@cache
def member_sections() -> tuple[type[PolicySection], ...]:
    """Return the sections that guardrails and strategies declare in their own files, by key."""
    # Imported here: guardrails and strategies read the policy.
    from jobs.pricing.guardrails import GUARDRAILS
    from jobs.pricing.strategies import STRATEGIES

    found = {g.settings for g in GUARDRAILS} | {s.settings for s in STRATEGIES}
    return tuple(sorted((section for section in found if section), key=lambda section: section.key))


@cache
def strategy_names() -> frozenset[str]:
    """Return the names that the section ``strategies`` may hold."""
    from jobs.pricing.strategies import STRATEGIES

    return frozenset(strategy.name for strategy in STRATEGIES if strategy.selectable)


class Policy(PolicySection):
    """The business numbers by section.

    Guardrails and strategies declare sections of their own, which :meth:`section` returns.

    Examples
    --------
    >>> Policy().limits.max_step
    0.1
    >>> Policy.from_dict({"limits": {"max_step": 7}})
    Traceback (most recent call last):
    ...
    jobs.pricing.policy.PolicyError: policy: limits.max_step: input should be less than or equal to 1; got 7
    >>> Policy.from_dict(Policy().to_dict()) == Policy()
    True
    >>> from jobs.pricing.guardrails.forward_buying import ForwardBuyingSettings
    >>> Policy.from_dict({"forward_buying": {"least_orders": 9}}).section(ForwardBuyingSettings).least_orders
    9
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(default="default", description="name of the policy, for operators")
    grid: PriceGrid = PriceGrid()
    segments: Segments = Segments()
    objective: Objective = Objective()
    exploration: Exploration = Exploration()
    margin: Margin = Margin()
    market: Market = Market()
    roles: Roles = Roles()
    limits: Limits = Limits()
    local_time: LocalTimes = LocalTimes()
    materiality: Materiality = Materiality()
    strategies: Strategies = Field(default_factory=Strategies)
    groups: Groups = Groups()
    sufficiency: Sufficiency = Sufficiency()
    beliefs: Beliefs = Beliefs()
    demand: Demand = Demand()
    elasticity: Elasticity = Elasticity()
    drift: Drift = Drift()
    features: Features = Features()
    tables: Tables = Tables()
    watch: Watch = Watch()

    @model_validator(mode="before")
    @classmethod
    def _read_members(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        members = {section.key: section for section in member_sections()}
        unknown = sorted(content.keys() - members.keys() - cls.model_fields.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: extra inputs are not permitted")
        read = {key: content.get(key, {}) for key in members}
        return content | {
            k: v if isinstance(v, members[k]) else members[k].model_validate(v) for k, v in read.items()
        }

    @model_validator(mode="after")
    def _offers_of_named_competitors_are_kept(self) -> Policy:
        named, kept = len(self.elasticity.reference_competitors), self.market.max_rivals
        if named > kept:
            raise ValueError(
                f"elasticity.reference_competitors: expected at most market.max_rivals {kept} names, got {named}"
            )
        return self

    def section(self, kind: type[SectionT]) -> SectionT:
        """Return the section that a guardrail or strategy declares."""
        found = (self.model_extra or {})[kind.key]
        assert isinstance(found, kind)
        return found

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a YAML file; absent keys take their defaults.

        Raises
        ------
        PolicyError
            If a key is wrong; the message names the file, and per key the expected and the actual value.
        """
        text = Path(path).read_text(encoding="utf-8")
        try:
            content = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise PolicyError(f"{path}: expected YAML, got {error}") from error
        return cls.from_dict(content, source=str(path))

    @classmethod
    def from_dict(cls, content: Any, *, source: str = "policy") -> Policy:
        """Build a policy from plain data, as in a decision's record."""
        if not isinstance(content, dict):
            raise PolicyError(f"{source}: expected a mapping of sections, got {content!r}")
        _refuse_moved_keys(content, source)
        members = {section.key: section for section in member_sections()}
        lines, read = [], dict(content)
        for key in sorted(content.keys() - cls.model_fields.keys()):
            if key not in members:
                lines.append(f"{key}: extra inputs are not permitted; got {read.pop(key)!r}")
                continue
            try:
                read[key] = members[key].model_validate(content[key])
            except ValidationError as error:
                lines += _problems(error, key)
                del read[key]
        try:
            policy = cls.model_validate(read)
        except ValidationError as error:
            lines += _problems(error)
        if lines:
            raise PolicyError(f"{source}: " + "; ".join(lines)) from None
        return policy

    def overridden(self, changes: Mapping[str, Any], *, source: str = "policy") -> Policy:
        """Return this policy with some keys replaced, section by section; other keys keep their values.

        >>> Policy().overridden({"limits": {"max_step": 0.05}}).limits.max_step
        0.05

        Raises
        ------
        PolicyError
            As :meth:`from_dict`.
        """
        content = self.to_dict()
        for key, value in changes.items():
            inside = content.get(key)
            content[key] = (
                inside | dict(value) if isinstance(inside, dict) and isinstance(value, Mapping) else value
            )
        return type(self).from_dict(content, source=source)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data with all keys, defaults included, as embedded in decisions."""
        return self.model_dump(mode="json")

    @cached_property
    def hash(self) -> str:
        """Return the first twelve hex digits of the SHA-256 of the canonical JSON, the policy's identity."""
        canonical = orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:12]
