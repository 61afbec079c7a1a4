"""Texts for readers: one text per cause, outcome and rejection code.

Records, logs and JSON contain the codes (:mod:`schemas.codes`). ``walras explain``, the page, the live view and
the edge display these texts. A test checks that every code has a text.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.causes import Cause
from schemas.codes import (
    EstimateWarning,
    Fallback,
    FallbackReason,
    InsufficientReason,
    OutcomeCode,
    RejectCode,
    Sufficiency,
)
from schemas.events import Role

SHOPPER_CAUSES: Mapping[str, str] = {cause: cause.shopper_text for cause in Cause}
"""Cause of the current price, for shoppers; contains no details."""

KEPT_PRICE = "price of this visit"
"""Reason of a price that a session keeps, for shoppers."""

CAUSES: Mapping[str, str] = {cause: cause.text for cause in Cause}
"""Cause of a repricing, for pricing managers."""

OUTCOMES: Mapping[str, str] = {
    OutcomeCode.PUBLISHED: "new prices were published",
    OutcomeCode.UNCHANGED: "the current prices are optimal and do not change",
    OutcomeCode.HELD: "the current price is kept",
    OutcomeCode.HARD_OVER_PACE: "the price changed at once to the nearest price that the hard limits allow",
    OutcomeCode.UNPRICEABLE: (
        "no price satisfies all hard limits, or the price to keep violates one; the current price is kept"
    ),
    OutcomeCode.NOT_MATERIAL: "the expected gain is too small for a price change",
    OutcomeCode.TARGET_BELOW_DEMAND: (
        "the prices with the lowest demand were published; demand still exceeds the sale target"
    ),
    OutcomeCode.TARGET_ABOVE_DEMAND: (
        "the prices with the highest demand were published; they still sell less than the target"
    ),
    OutcomeCode.COLD_START: "the first prices were published",
}
"""Outcome of a decision."""

ADVICE: Mapping[str, str] = {
    OutcomeCode.UNPRICEABLE: "correct the cost, the floor or the ceiling, or end the hold on the price",
    OutcomeCode.TARGET_BELOW_DEMAND: "raise the ceiling or the sale target if possible",
    OutcomeCode.TARGET_ABOVE_DEMAND: "lower the target, the floor or the smallest margin if possible",
}
"""Recommended action for outcomes that need one."""

FALLBACKS: Mapping[str, str] = {
    Fallback.NONE: "the strategy that the policy names",
    Fallback.RULE: "a rule from the margin and the rivals' average, without the demand model",
    Fallback.LAST_TABLE: "the last price table",
    Fallback.LIST_PRICE: "the list price",
}
"""Stage of the fallback chain: where the price comes from."""

FALLBACK_REASONS: Mapping[str, str] = {
    FallbackReason.NO_ESTIMATE: "there is no estimate of the elasticity yet",
    FallbackReason.ESTIMATE_TOO_OLD: "the newest estimate of the elasticity is too old",
    FallbackReason.ESTIMATE_UNUSABLE: "the newest estimate of the elasticity is not a usable number",
    FallbackReason.NOT_IDENTIFIED: "the data do not identify the elasticity",
    FallbackReason.RIVALS_STALE: "the rivals' prices are out of date and left out",
    FallbackReason.NO_RIVALS: "no rival's price is known",
    FallbackReason.NO_COST: "the catalog gives no usable cost",
    FallbackReason.NO_LIST_PRICE: "the catalog gives no usable list price",
}
"""Why a decision used a fallback."""

REJECTIONS: Mapping[str, str] = {
    RejectCode.INVALID_UTF8: "not UTF-8 text",
    RejectCode.NOT_JSON_OBJECT: "not a JSON object",
    RejectCode.TOO_LARGE: "record too large",
    RejectCode.MISSING_OR_WRONG_TYPE: "a required value is missing or of the wrong type",
    RejectCode.TOO_LONG: "a text is too long",
    RejectCode.BAD_CHARACTERS: "an identifier contains a forbidden character",
    RejectCode.OUT_OF_RANGE: "a number is out of range",
    RejectCode.NOT_IN_SET: "a value is not in the set of allowed values",
    RejectCode.BAD_CURRENCY: "unknown currency",
    RejectCode.FROM_THE_FUTURE: "event time in the future",
    RejectCode.DUPLICATE_ORDER: "order already counted",
    RejectCode.UNKNOWN_LISTING: "listing not in the catalog",
    RejectCode.WRONG_CURRENCY: "currency differs from the catalog's",
}
"""Reason for the rejection of a record."""

SUFFICIENCY: Mapping[str, str] = {
    Sufficiency.SUFFICIENT: "sufficient data",
    Sufficiency.PROVISIONAL: "first estimate",
    Sufficiency.PRIOR: "assumed, no data yet",
    Sufficiency.NOT_IDENTIFIED: "not identified by the price changes so far",
}
"""Degree to which the data behind an estimate suffice."""

INSUFFICIENT: Mapping[str, str] = {
    InsufficientReason.NO_DATA: "no data yet",
    InsufficientReason.NO_EXPOSURES: "there are orders and no quotes",
    InsufficientReason.PRICE_NEVER_MOVED: "the price never changed",
    InsufficientReason.PRICE_HARDLY_MOVED: "the price hardly changed",
    InsufficientReason.MOVED_WITH_COVARIATES: "the price changed only with a promotion or another covariate",
    InsufficientReason.TOO_FEW_ROWS: "too few observations",
    InsufficientReason.TOO_FEW_PERIODS: "too few periods with data",
    InsufficientReason.ERROR_TOO_LARGE: "the standard error is too large",
}
"""Why an estimate is not sufficient."""

WARNINGS: Mapping[str, str] = {
    EstimateWarning.PRICES_FOLLOWED_DEMAND: (
        "prices of the category followed the demand of the period before, so that the elasticity may be biased"
    ),
}
"""What may bias an estimate."""

ROLES: Mapping[str, str] = {
    Role.KVI: "known value item",
    Role.TRAFFIC: "traffic item",
    Role.MARGIN: "margin item",
    Role.LONG_TAIL: "long-tail item",
}
"""Role of a listing in the assortment."""
