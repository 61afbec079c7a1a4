"""Records of what the Python jobs learn and decide: features, estimates, decisions, price tables, quarantine.

The conventions are those of :mod:`schemas.events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OWN_PRICE_ELASTICITY = "own_price_elasticity"
"""Name of the estimate of a listing's own-price elasticity."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated quantity with its mean, sd and n.

    ``raw_mean`` and ``raw_se`` are the values before shrinkage. ``reason`` states why an estimate is not
    sufficient, empty where it is; ``model`` names the model that estimated it. ``warning`` states what may bias
    the estimate, empty without a sign of it; a sufficient estimate may have one.
    """

    scope: str
    tenant: str
    market: str
    sku: str
    price_group: str
    name: str
    segment: str
    mean: float
    sd: float
    n: int
    raw_mean: float | None
    raw_se: float | None
    active_periods: int
    sufficient: str
    window_end_ms: int
    extra: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    model: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The models of a category: the one whose estimates are used, and the rolling score of each.

    A score is the mean log probability, in nats, that a model gave to a listing's next order count.
    ``switched_from`` names the model in use before, empty without a switch in this period; ``reason`` states
    why the model is in use. ``states`` counts the category's products by sufficiency. ``endogeneity`` is
    not_tested, no_sign or shown: whether price changes followed the residuals of the period before, with the
    correlation and z of that test.
    """

    tenant: str
    category: str
    window_end_ms: int
    model: str
    switched_from: str
    reason: str
    scores: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    endogeneity: str = "not_tested"
    lagged_correlation: float | None = None
    lagged_z: float | None = None


@dataclass(frozen=True, slots=True)
class DriftEvent:
    """A confirmed change of demand, found by ADWIN on standardised residuals of orders given the forecast.

    ``scope`` is listing, category or market, ``name`` its name, ``statistic`` level (sales at unchanged prices)
    or price (the dependence of sales on the price). ``residual_before`` and ``residual_after`` are means of the
    residual in standard deviations, over the whole window and its part after the change, of ``periods``
    periods.
    """

    tenant: str
    scope: str
    name: str
    bucket: int
    statistic: str
    residual_before: float
    residual_after: float
    periods: int
    slope_shift: float
    slope_shift_sd: float
    listings: int
    window_end_ms: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence score of a listing, with the strongest detector and the score's components."""

    tenant: str
    market: str
    sku: str
    window_end_ms: int
    score: float
    evidence: float
    signal: str
    effect: float
    triggered: bool
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """A pricing decision with all its inputs.

    ``inputs`` and the policy whose hash they record (``policies``) are sufficient to recompute ``result`` bit for
    bit.
    """

    decision_id: str
    tenant: str
    market: str
    sku: str
    price_group: str
    event_time_ms: int
    decided_at_ms: int
    cause: str
    cause_detail: dict[str, Any]
    inputs: dict[str, Any]
    result: dict[str, Any]
    published: bool
    version: int
    table_id: str


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """A policy that decisions refer to by its hash. Each bucket writes it before the first decision that uses it.

    ``content`` holds all keys, section by section.
    """

    hash: str
    content: dict[str, Any]
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A fact or batch for which a logic raised an exception. The job skips it and continues.

    ``kind`` is the fact's stream, ``batch`` for a bucket's minute, or ``recovered`` for the first successful
    minute of a bucket after failures. ``address`` is stream-partition-offset where the record has one. A batch is
    read from that address; the record of a fact is in ``payload``. ``version`` contains the logic's name and its
    snapshot version. ``failing_minutes`` is the number of consecutive failed minutes of the bucket, including this
    one.
    """

    logic: str
    bucket: str
    kind: str
    address: str
    event_time_ms: int
    error: str
    trace: str
    version: str
    failing_minutes: int
    payload: str


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The features of one listing at the end of a minute. The columns of the features follow these columns."""

    listing: str
    event_timestamp: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class PriceTableRecord:
    """Value of the `tables` topic: the listing, and the fields of the Redis hash as strings."""

    tenant: str
    market: str
    sku: str
    price_group: str
    version: str
    table_id: str
    published_ms: str
    expires_ms: str
    currency: str
    table: str
    default_minor: str
    list_minor: str
    offer_minor: str
    reason: str
    decision_id: str
