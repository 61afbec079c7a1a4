"""Texts for readers: one text per cause, outcome and rejection code.

Records, logs and JSON contain the codes (:mod:`schemas.codes`). ``walras explain``, the page, the live view and
the edge display these texts. A test checks that every code has a text.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.codes import Cause, OutcomeCode, RejectCode, Sufficiency
from schemas.events import CommandKind, Role

SHOPPER_CAUSES: Mapping[str, str] = {
    Cause.EVIDENCE: "demand has changed",
    Cause.GROUP_EVIDENCE: "demand has changed",
    Cause.RIVAL_MOVED: "market prices have changed",
    Cause.STOCK_OUT: "availability has changed",
    Cause.RESTOCKED: "availability has changed",
    Cause.COST_CHANGED: "costs have changed",
    Cause.BELIEFS_MOVED: "the demand estimate has changed",
    Cause.EVENT_STARTED: "a seasonal price",
    Cause.EVENT_ENDED: "a seasonal price has ended",
    Cause.COMMAND: "set by the shop",
    Cause.SETTLE: "prices were reviewed",
    Cause.COLD_START: "a first price",
    Cause.CONTINUED: "a price change in steps",
    Cause.RENEWAL: "unchanged",
}
"""Cause of the current price, for shoppers; contains no details."""

CAUSES: Mapping[str, str] = {
    Cause.EVIDENCE: "demand changed",
    Cause.GROUP_EVIDENCE: "demand changed across the price group",
    Cause.RIVAL_MOVED: "a competitor's price or stock changed",
    Cause.STOCK_OUT: "the item sold out",
    Cause.RESTOCKED: "the item is back in stock",
    Cause.COST_CHANGED: "the catalog entry changed",
    Cause.BELIEFS_MOVED: "the demand estimate changed",
    Cause.EVENT_STARTED: "a calendar event started",
    Cause.EVENT_ENDED: "a calendar event ended",
    Cause.COMMAND: "an operator's command",
    Cause.SETTLE: "all prices were computed anew",
    Cause.COLD_START: "first price of the listing",
    Cause.CONTINUED: "next step of an earlier change",
    Cause.RENEWAL: "the price table came near its end",
}
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
    OutcomeCode.COLD_START: "the first prices were published by the cold-start rule",
    OutcomeCode.RENEWED: "the same prices were published again with a later expiry",
}
"""Outcome of a decision."""

ADVICE: Mapping[str, str] = {
    OutcomeCode.UNPRICEABLE: "correct the cost, the floor or the ceiling, or end the hold on the price",
    OutcomeCode.TARGET_BELOW_DEMAND: "raise the ceiling or the sale target if possible",
}
"""Recommended action for outcomes that need one."""


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
    RejectCode.TOO_OLD: "event too old",
    RejectCode.DUPLICATE_ORDER: "order already counted",
    RejectCode.UNKNOWN_LISTING: "listing not in the catalog",
    RejectCode.WRONG_CURRENCY: "currency differs from the catalog's",
}
"""Reason for the rejection of a record."""

SUFFICIENCY: Mapping[str, str] = {
    Sufficiency.SUFFICIENT: "sufficient data",
    Sufficiency.PROVISIONAL: "first estimate",
    Sufficiency.PRIOR: "assumed, no data yet",
    Sufficiency.NOT_IDENTIFIED: "not identified, because the price never changed",
}
"""Degree to which the data behind an estimate suffice."""

ROLES: Mapping[str, str] = {
    Role.KVI: "known value item",
    Role.TRAFFIC: "traffic item",
    Role.MARGIN: "margin item",
    Role.LONG_TAIL: "long-tail item",
}
"""Role of a listing in the assortment."""

COMMANDS: Mapping[str, str] = {
    CommandKind.APPROVE: "approved the change",
    CommandKind.REJECT: "rejected the change",
    CommandKind.FREEZE: "froze the price",
    CommandKind.UNFREEZE: "unfroze the price",
    CommandKind.MANUAL_PRICE: "set the price by hand",
    CommandKind.SALE_TARGET: "set a sale target",
    CommandKind.POLICY: "changed the policy",
    CommandKind.SETTLE: "requested new prices",
    CommandKind.ROLLBACK: "restored an earlier price",
    CommandKind.KILL_SWITCH: "stopped publishing",
    CommandKind.RESUME: "resumed publishing",
}
"""Action of an operator."""
