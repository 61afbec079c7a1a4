"""Policy: every business number of the decisions, in one frozen, validated object.

Why one object: a number that stands in two places is two numbers, and a decision that does not say
under which policy it ran cannot be recomputed. A policy is read from YAML, refuses what it does not
know, is embedded whole into every decision, and has a name that is the hash of its content.

Shares and ratios are fractions (``.10`` is ten per cent), money is minor units, times say their unit.
Source: science § 3-8; where the science gives a default, it is the default here.
Over 300 lines: one number a line with what it does, kept together because a policy is read as one page.
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

from jobs.pricing.policy_section import Number, PolicySection, Share
from schemas.events import DEFAULT_ARM

MINUTE_MS = 60_000
SectionT = TypeVar("SectionT", bound=PolicySection)


class PolicyError(ValueError):
    """A policy that cannot be used; one line per key: what was expected, what came."""


class PriceGrid(PolicySection):
    """Which prices may be asked at all: ``k * step - ending`` (Eq. 3)."""

    step_share: Share = Field(
        default=0.02, gt=0, description="step as a share of list price, rounded to 1, 2, 5 × 10^k"
    )
    ending_minor: int = Field(default=1, ge=0, description="prices end this much below a multiple of the step")
    span_share: Share = Field(
        default=0.25, gt=0, description="candidates are looked for this far around current price"
    )
    max_prices: int = Field(
        default=41, ge=2, le=500, description="most prices of a grid; the step is widened to fit"
    )


class Segments(PolicySection):
    """The groups of customers that are priced (science § 2)."""

    names: tuple[str, ...] = Field(
        default=("all", "myopic", "strategic"),
        min_length=1,
        description="'all': customers of whom nothing is known yet",
    )
    prior_shares: tuple[Share, ...] = Field(default=(0.2, 0.4, 0.4), description="share of requests before data")
    share_weight: Number = Field(default=50.0, gt=0, description="requests that the prior shares count as")
    uniform: bool = Field(
        default=False, description="one price for all segments (the only mode where law asks it)"
    )
    memory_days: int = Field(
        default=30, ge=1, le=3_650,
        description="a customer's purchases are counted by periods of so many days of event time; the stream "
        "remembers the last ones, Redis all of them",
    )  # fmt: skip

    @model_validator(mode="after")
    def _as_many_shares(self) -> Segments:
        if len(self.names) != len(self.prior_shares) or abs(sum(self.prior_shares) - 1) > 1e-9:
            raise ValueError(f"expected {len(self.names)} prior_shares that sum to 1, got {self.prior_shares}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"expected distinct segment names, got {self.names}")
        return self


class Objective(PolicySection):
    """What is maximised (§ 7 A) and over which period."""

    cost_weight: Share = Field(default=1.0, description="ω: 1 profit, 0 revenue as printed in 003")
    period_minutes: int = Field(
        default=1_440, ge=1, description="the period that requests, targets and gains refer to"
    )
    may_close: bool = Field(default=False, description="(C≤): the shop may quote nothing; False: (C=)")
    stock_as_target: bool = Field(
        default=True, description="stock on hand must last until more arrives (T of § 7 B)"
    )
    target_weighting: Literal["time", "volume"] = Field(
        default="time", description="how a sale target is spread: evenly, or as requests are expected"
    )


class Exploration(PolicySection):
    """How prices keep being tried (§ 7)."""

    mode: Literal["bounded", "thompson", "none"] = "bounded"
    propensity: Share = Field(default=0.02, le=0.1, description="least select probability of a neighbouring price")
    neighbours: int = Field(
        default=2, ge=0, le=5, description="allowed grid prices on each side that are kept in play"
    )
    far_propensity: Share = Field(
        default=0.04, le=0.1, description="and of the farthest allowed price on each side, within one step"
    )
    far_until: Share = Field(
        default=0.25, description="while the elasticity's 90 % interval is wider than this share of it, each way"
    )


class Margin(PolicySection):
    """MIN_MARGIN and the trust in a cost."""

    min_margin: Share = Field(default=0.10, lt=1.0, description="(p - c)/p at least")
    cost_jump: Share = Field(
        default=0.50, gt=0, description="a cost that moves more at once holds until confirmed"
    )
    cost_jump_scale: Literal["log", "share"] = Field(
        default="log",
        description="log: a rise to 1 + cost_jump times and a fall to 1 / (1 + cost_jump) are equally far; "
        "share: a rise and a fall by cost_jump are (decisions recorded before this key existed)",
    )
    cost_tolerance: Share = Field(
        default=0.05, description="costs within this of each other agree, and confirm one another"
    )
    confirm_after_minutes: int = Field(
        default=60, ge=0, description="an agreeing cost this long after the first one confirms it"
    )
    trust_after_minutes: int = Field(
        default=20_160, ge=0, description="costs that do not agree, all on one side for this long: trust the last"
    )


class Market(PolicySection):
    """Rivals: caps and how long an offer counts."""

    cap_trigger_ratio: Number = Field(
        default=2.0, gt=1, description="candidate over rivals' mean that calls for the cap"
    )
    cap_ratio: Number = Field(default=1.5, gt=0, description="then at most this times the mean")
    offer_validity_minutes: int = Field(default=1_440, ge=1, description="validity of an offer that states none")
    min_match_confidence: Share = 0.5
    offer_jump: Share = Field(
        default=0.5, gt=0, description="a rival's price that moves more is set aside until seen twice"
    )
    max_rivals: int = Field(default=16, ge=1, le=256)
    move_share: Share = Field(
        default=0.005, description="a rival's price requests a repricing when it moved by at least this"
    )
    move_of_usual: Number = Field(
        default=0.2, ge=0, description="and by at least this part of the mean size of the rival's own moves"
    )
    usual_weight: Share = Field(default=0.2, gt=0, description="weight of the newest move in that mean")

    @model_validator(mode="after")
    def _cap_below_trigger(self) -> Market:
        if self.cap_ratio > self.cap_trigger_ratio:
            raise ValueError(
                f"expected cap_ratio ≤ cap_trigger_ratio {self.cap_trigger_ratio}, got {self.cap_ratio}"
            )
        return self


class Roles(PolicySection):
    """How closely rivals are followed, by a listing's role (003 § A): at most this times their fresh mean.

    Why beside the demand model: a rival's price scales the whole curve, and a scaled curve has the same
    optimum; what shoppers compare, known value items first, must be followed as a matter of strategy.
    Absent: not followed. A bound of this kind gives way to hard bands and keeps the pace.
    """

    kvi: Number | None = Field(default=1.0, gt=0)
    traffic: Number | None = Field(default=1.05, gt=0)
    margin: Number | None = Field(default=1.25, gt=0)
    long_tail: Number | None = Field(default=None, gt=0)

    def follow_ratio(self, role: str) -> float | None:
        """The bound of a role; an unknown role follows nobody."""
        ratio: float | None = getattr(self, role, None) if role in type(self).model_fields else None
        return ratio


class Limits(PolicySection):
    """FLOOR_CEILING where the catalog gives none, and pace."""

    ceiling_over_list: Number = Field(
        default=1.5, ge=1, description="ceiling of a listing whose catalog entry has none"
    )
    max_step: Share = Field(default=0.10, gt=0, description="STEP_LIMIT: one change at most")
    approval_over: Share = Field(
        default=0.20, gt=0, description="APPROVAL: a candidate further away waits for people"
    )
    approval_minutes: int = Field(default=1_440, ge=1, description="how long an approval may be given and used")
    min_gap_minutes: int = Field(default=60, ge=0, description="MIN_GAP between two changes")
    max_changes_per_day: int = Field(default=8, ge=1, description="MAX_CHANGES per market day")
    min_confidence: Share = Field(default=0.5, description="LOW_CONFIDENCE: least P(gain > 0)")


class LocalTimes(PolicySection):
    """Local time of the markets: days of features and limits, hours and weekdays of requests."""

    time_zones: dict[str, str] = Field(
        default_factory=dict, description="market → IANA time zone; UTC where absent"
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
    """What a change costs, so that a rule's look may end in nothing."""

    min_gain_share: Share = Field(
        default=0.002, description="gain over the period's value that a change must bring"
    )
    min_gain_minor: int = Field(default=0, ge=0, description="and at least this much per period")


class Strategies(PolicySection):
    """Which strategy proposes prices (jobs/pricing/strategies): by name, for every role of a listing."""

    cold_start: str = Field(default="cold_start", description="proposes the first price of a listing")
    default: str = Field(default="profit_lp", description="proposes all later prices")
    by_role: dict[str, str] = Field(default_factory=dict, description="role → strategy, in place of the default")

    @model_validator(mode="after")
    def _known(self) -> Strategies:
        known = strategy_names()
        for name in (self.cold_start, self.default, *self.by_role.values()):
            if name not in known:
                raise ValueError(f"expected strategies among {', '.join(sorted(known))}, got {name!r}")
        return self

    def of_role(self, role: str | None) -> str:
        """Return the name of a role's strategy.

        >>> Strategies(by_role={"kvi": "match_rival"}).of_role("kvi"), Strategies().of_role("kvi")
        ('match_rival', 'profit_lp')
        """
        return self.by_role.get(role or "", self.default)


class Sufficiency(PolicySection):
    """§ 5: when an estimate speaks for itself."""

    relative_width: Share = Field(default=0.15, gt=0, description="half width of the 90 % interval")


class Beliefs(PolicySection):
    """Priors that speak before there are data (§ 3, § 4)."""

    elasticity_mean: Number = Field(default=-2.0, lt=0)
    elasticity_sd: Number = Field(default=0.5, gt=0)
    elasticity_max: Number = Field(default=-0.2, lt=0, description="a flatter answer of demand is not believed")
    rival_elasticity: Number = Field(default=0.5, ge=0)
    list_price_sd: Number = Field(
        default=0.15, gt=0, description="the list price is believed to be right within this, in logs"
    )
    look_when_moved_sd: Number = Field(
        default=0.5, gt=0, description="an elasticity that moved by this many of its sd asks for a look"
    )
    look_when_grown: Number = Field(
        default=1.5, gt=1, description="and so do counts that grew to this many times those of the last decision"
    )
    conversion: Share = Field(
        default=0.02, gt=0, lt=1, description="orders per exposure of a listing without data"
    )
    requests_per_day: Number = Field(default=20.0, gt=0)
    max_rival_factor: Number = Field(default=2.0, gt=1, description="(o/ō)^η is clipped to [1/x, x]")


class Elasticity(PolicySection):
    """How elasticities are learned (§ 3); the beliefs before data are in ``beliefs``.

    Why in the policy: what is learned is half of every price, and a market of weekly scanner data learns
    otherwise than a shop with clicks.
    """

    kind: Literal["poisson", "within"] = Field(
        default="poisson", description="poisson: orders given exposures; within: scanner data, log units"
    )
    host: Literal["river", "sums"] = Field(default="river", description="host of the within estimator")
    period_minutes: int = Field(default=60, ge=1, description="one row per listing and period")
    period_offset_minutes: int = Field(
        default=0, ge=0, description="start of the first period after the epoch (Monday: 5760, Thursday: 0)"
    )
    order_lag_periods: int = Field(
        default=1, ge=0, le=1, description="a period is learned so much later: orders come after exposures"
    )
    category_effects: bool = Field(
        default=False, description="take out what a week did to its category (within, series that share a bucket)"
    )
    forgetting_per_week: Share = Field(default=0.99, gt=0, description="λ; 1 forgets nothing")
    prior_sd: Number = Field(default=3.0, gt=0, description="of ε while a listing learns; divided out when pooled")
    conversion_sd: Number = Field(default=1.5, gt=0, description="of the log of orders per exposure before data")
    rival_sd: Number = Field(default=0.5, gt=0, description="of the rival elasticity before data")
    category_sd: Number = Field(default=1.0, gt=0, description="s₀: of a category's mean before data")
    sufficient_periods: Number = Field(
        default=12.0, gt=0, description="W: active periods of a sufficient estimate"
    )
    sufficient_se: Number = Field(default=0.5, gt=0)
    provisional_se: Number = Field(default=1.0, gt=0)
    tell: Literal["changed", "moved"] = Field(
        default="changed", description="an estimate is told when its product's numbers changed, or when it moved"
    )
    emit_shift: Number = Field(
        default=0.1, gt=0, description="step in which a mean is told, in sd; sds in steps of this share"
    )

    @model_validator(mode="after")
    def _sufficient_is_stricter(self) -> Elasticity:
        if self.sufficient_se > self.provisional_se:
            raise ValueError(
                f"expected sufficient_se ≤ provisional_se {self.provisional_se}, got {self.sufficient_se}"
            )
        return self


class Features(PolicySection):
    """How often feature rows are written."""

    emit_every_minutes: int = Field(default=5, ge=1, description="shortest time between two rows of a listing")
    refresh_minutes: int = Field(default=15, ge=1, description="longest time between two rows of a listing")
    estimate_lag_minutes: int = Field(
        default=10, ge=0, description="an estimate counts so long after its window, whenever it arrived"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Features:
        if self.refresh_minutes < self.emit_every_minutes:
            raise ValueError(
                f"expected refresh_minutes ≥ emit_every_minutes {self.emit_every_minutes}, "
                f"got {self.refresh_minutes}"
            )
        return self


class Tables(PolicySection):
    """How long a table serves."""

    life_minutes: int = Field(default=1_440, ge=2)
    renew_share: Share = Field(default=0.25, gt=0, lt=1, description="renewed when this share of its life is left")
    arm: str = DEFAULT_ARM


class Watch(PolicySection):
    """§ 6: the false-alarm budget and what is shown of the evidence."""

    false_alarm_every: Number = Field(
        default=10_080.0, gt=0, description="minutes between false repricings of a listing"
    )
    own_share: Share = Field(default=0.6, gt=0, description="of that budget, for each listing's own evidence")
    group_share: Share = Field(default=0.4, ge=0, description="of that budget, for its price group's evidence")
    weights: dict[str, Share] = Field(
        default_factory=dict, description="signal → share of the budget, in place of the signal's own"
    )
    rivals_weight: Share = Field(default=0.15, description="share for the start mass of rivals' moves")
    events_weight: Share = Field(default=0.10, description="share for the start mass of calendar events")
    level_minutes: Number = Field(
        default=20_160.0, gt=0, description="time constant of a listing's level of orders"
    )
    warmup_minutes: int = Field(default=60, ge=0, description="minutes of data before detectors run")
    hold_minutes: int = Field(default=60, ge=0, description="minutes after a trigger in which detectors pause")
    relearn_minutes: int = Field(
        default=1_440, ge=0, description="minutes after a trigger with a band one standard error wider"
    )
    reseed_minutes: Number = Field(
        default=5.0, ge=0, description="minutes of old exposure that stay in the level after a trigger"
    )
    block_minutes: int = Field(
        default=720, ge=1, description="length of the blocks that show slow drift of a rate"
    )
    start_dispersion: Number = Field(
        default=1.5, ge=1, description="variance over mean of orders until the first block is full"
    )
    prior_blocks: Number = Field(default=2.0, gt=0, description="blocks that this prior counts as")
    merge_gap_minutes: int = Field(
        default=60, ge=0, description="longest gap whose counts are merged; those of a longer one are dropped"
    )
    session_lag_minutes: int = Field(
        default=45, ge=0, description="minutes after an own price change in which abandonment is not observed"
    )
    fact_minutes: Number = Field(
        default=43_200.0, gt=0, description="time constant of a fact's rate, and its longest mean interval"
    )
    full_mass_orders: Number = Field(
        default=0.05, gt=0, description="expected orders per minute from which on a minute counts fully"
    )
    profile_orders: Number = Field(
        default=200.0, gt=0, description="orders that a category's daily profile counts as in a listing's"
    )
    show_above: Share = Field(
        default=0.5, description="evidence above this score is published; triggers always are"
    )
    top: int = Field(default=3, ge=0, description="and a change among this many leading listings of a bucket")


def _problems(error: ValidationError, *inside: str) -> list[str]:
    """Return one line per wrong key: the key, what was expected, what came."""
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
    """The business numbers; see the sections. Members' own sections are read with :meth:`section`.

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

    name: str = "default"
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
    sufficiency: Sufficiency = Sufficiency()
    beliefs: Beliefs = Beliefs()
    elasticity: Elasticity = Elasticity()
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
            Naming the file, every wrong key, what was expected and what came.
        """
        text = Path(path).read_text(encoding="utf-8")
        try:
            content = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise PolicyError(f"{path}: expected YAML, got {error}") from error
        return cls.from_dict(content, source=str(path))

    @classmethod
    def from_dict(cls, content: Any, *, source: str = "policy") -> Policy:
        """Build from plain data, as in a decision's record."""
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
        """This policy with some keys replaced, section by section; what is not named stays.

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
        """Plain data, complete (defaults written out), as embedded in decisions."""
        return self.model_dump(mode="json")

    @cached_property
    def hash(self) -> str:
        """First twelve hex digits of the SHA-256 of the canonical JSON: the policy's identity."""
        canonical = orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:12]
