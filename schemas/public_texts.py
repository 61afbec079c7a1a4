"""What people read where a record carries a code: one text per cause, outcome and refusal.

The codes (:mod:`schemas.codes`) stay in records, logs and JSON; these texts are shown to people by ``walras
explain``, the page, the live view and the edge. A test holds every enum to have all of its texts.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.codes import Cause, OutcomeCode, RejectCode, Sufficiency
from schemas.events import Role

SHOPPER_CAUSES: Mapping[str, str] = {
    Cause.EVIDENCE: "demand has changed",
    Cause.GROUP_EVIDENCE: "demand has changed",
    Cause.RIVAL_MOVED: "market prices have changed",
    Cause.STOCK_OUT: "availability has changed",
    Cause.RESTOCKED: "availability has changed",
    Cause.COST_CHANGED: "costs have changed",
    Cause.BELIEFS_MOVED: "demand has been estimated anew",
    Cause.EVENT_STARTED: "a seasonal price",
    Cause.EVENT_ENDED: "a seasonal price has ended",
    Cause.COMMAND: "set by the shop",
    Cause.SETTLE: "prices were reviewed",
    Cause.COLD_START: "a first price",
    Cause.CONTINUED: "a price change in steps",
    Cause.RENEWAL: "unchanged",
}
"""What a shopper may read: never a detail."""

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
"""What started a repricing, for a pricing manager."""

OUTCOMES: Mapping[str, str] = {
    OutcomeCode.PUBLISHED: "new prices were published",
    OutcomeCode.UNCHANGED: "the current prices are the best ones; nothing changes",
    OutcomeCode.HELD: "the current price is held",
    OutcomeCode.HARD_OVER_PACE: "the price moved at once to the nearest one that the hard limits allow",
    OutcomeCode.UNPRICEABLE: (
        "no price satisfies every hard limit, or the price that is held does not; the current price stays"
    ),
    OutcomeCode.NOT_MATERIAL: "the expected gain is too small to change the price",
    OutcomeCode.TARGET_BELOW_DEMAND: (
        "the prices that sell least were published; even these sell more than may be sold"
    ),
    OutcomeCode.COLD_START: "first prices were published by the starting rule",
    OutcomeCode.RENEWED: "the same prices were published again for longer",
}
"""How a decision ended."""

ADVICE: Mapping[str, str] = {
    OutcomeCode.UNPRICEABLE: "correct the cost, the floor or the ceiling, or end what holds the price",
    OutcomeCode.TARGET_BELOW_DEMAND: "raise the ceiling or the sale target if more may be earned or sold",
}
"""What to do about an outcome, where people must."""


REFUSALS: Mapping[str, str] = {
    RejectCode.INVALID_UTF8: "not UTF-8 text",
    RejectCode.NOT_JSON_OBJECT: "not a JSON object",
    RejectCode.TOO_LARGE: "record too large",
    RejectCode.MISSING_OR_WRONG_TYPE: "a required value is missing or of the wrong type",
    RejectCode.TOO_LONG: "a text is too long",
    RejectCode.BAD_CHARACTERS: "an identifier holds a character that it may not hold",
    RejectCode.OUT_OF_RANGE: "a number is out of range",
    RejectCode.NOT_IN_SET: "a value is not one of those allowed",
    RejectCode.BAD_CURRENCY: "unknown currency",
    RejectCode.FROM_THE_FUTURE: "event time in the future",
    RejectCode.TOO_OLD: "event too old",
    RejectCode.DUPLICATE_ORDER: "order already counted",
    RejectCode.UNKNOWN_LISTING: "listing not in the catalog",
    RejectCode.WRONG_CURRENCY: "currency differs from the catalog's",
}
"""Why a record was refused."""

SUFFICIENCY: Mapping[str, str] = {
    Sufficiency.SUFFICIENT: "known well enough",
    Sufficiency.PROVISIONAL: "first estimate",
    Sufficiency.PRIOR: "assumed, no data yet",
    Sufficiency.NOT_IDENTIFIED: "unknown, because the price never changed",
}
"""How far an estimate may be trusted."""

ROLES: Mapping[str, str] = {
    Role.KVI: "known value item",
    Role.TRAFFIC: "traffic item",
    Role.MARGIN: "margin item",
    Role.LONG_TAIL: "long-tail item",
}
"""A listing's role in the assortment."""
