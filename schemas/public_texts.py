"""Texts for readers: one text per cause, outcome, guardrail and rejection code.

Records, logs and JSON contain the codes (:mod:`schemas.codes`). ``walras explain``, the page, the live view and
the edge display these texts. A test checks that every code has a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from schemas.codes import Cause, GuardrailCode, OutcomeCode, RejectCode, Sufficiency
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


class Limit(NamedTuple):
    """Texts of a guardrail: its name, its effect, and advice for the case that it blocks a price change."""

    name: str
    effect: str
    advice: str = ""


LIMITS: Mapping[str, Limit] = {
    GuardrailCode.COST_MISSING: Limit(
        "Cost missing", "no price is computed without a cost above 0", "send a catalog entry with a cost"
    ),
    GuardrailCode.INPUT_INVALID: Limit(
        "Invalid input", "the list price, the currency or the cost is invalid",
        "correct the catalog entry if it is wrong",
    ),
    GuardrailCode.MIN_MARGIN: Limit("Minimum margin", "no price below the cost plus the minimum margin"),
    GuardrailCode.MARKET_CAP: Limit("Market cap", "no price far above the competitors' average"),
    GuardrailCode.FLOOR_CEILING: Limit("Floor and ceiling", "no price outside the catalog's floor and ceiling"),
    GuardrailCode.SURGE_BAN: Limit("Emergency", "no price increase while an emergency is declared"),
    GuardrailCode.EQUAL_PRICE: Limit("Equal price", "one price for all listings of a price group"),
    GuardrailCode.UNIFORM: Limit("Uniform price", "one price for all customers"),
    GuardrailCode.STEP_LIMIT: Limit("Step limit", "no price change above the maximum step"),
    GuardrailCode.APPROVAL: Limit("Approval", "a large change is published in steps until it is approved"),
    GuardrailCode.LOW_CONFIDENCE: Limit(
        "Low confidence", "no change unless it is likely to raise the profit", "review the decision"
    ),
    GuardrailCode.MIN_GAP: Limit("Minimum gap", "a minimum time between two price changes"),
    GuardrailCode.MAX_CHANGES: Limit("Changes per day", "a maximum number of price changes per day"),
    GuardrailCode.FORWARD_BUYING: Limit(
        "Forward buying", "no deep deal if customers stock up at deals and buy less at the usual price later"
    ),
    GuardrailCode.STALE_OFFERS: Limit(
        "Competitor prices out of date", "outdated competitor prices trigger no change and only limit increases",
        "check the feed of competitor offers",
    ),
    GuardrailCode.OFFER_OUTLIER: Limit(
        "Competitor price outlier", "an implausible competitor price is ignored until it is observed twice"
    ),
    GuardrailCode.PRICE_WAR: Limit("Price war", "competitor prices fell together; no cut below the margin floor"),
    GuardrailCode.FROZEN: Limit("Frozen", "an operator froze the price", "unfreeze the listing to allow changes"),
    GuardrailCode.PORTFOLIO_BRAKE: Limit("Portfolio brake", "too many prices changed at once; publishing stopped"),
}  # fmt: skip
"""Texts of all guardrails."""

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

SIGNALS: Mapping[str, str] = {
    "velocity": "orders",
    "abandonment": "odds that a search ends without an order",
    "stock_pressure": "units sold against plan",
}
"""Quantity that each of the watcher's signals measures."""


def signal_text(signal: str, effect: float) -> str:
    """Describe the effect that a signal detected.

    Examples
    --------
    >>> signal_text("velocity", 0.8)
    'orders ×0.8'
    """
    return f"{SIGNALS.get(signal, 'demand')} ×{effect:g}"


_REASON = re.compile(
    r"(?P<cause>[A-Z_]+)(?: after (?P<after>[A-Z_]+))?(?: (?P<signal>[a-z_]+) ×(?P<effect>[0-9.e+-]+))?"
    r": (?P<outcome>[A-Z_]+)(?P<price>[^()]*)(?:\((?P<limits>[A-Z_, ]+)\))?"
)


def reason_text(reason: str) -> str:
    """Return the text of the reason in a table or decision; a reason of another form is returned unchanged.

    Examples
    --------
    >>> reason_text("EVIDENCE velocity ×0.8: PUBLISHED 19.99 USD → 21.49 USD (STEP_LIMIT, APPROVAL)")
    'demand changed (orders ×0.8); limited by: step limit, approval'
    >>> reason_text("CONTINUED after RIVAL_MOVED: HELD 19.99 USD")
    "next step of an earlier change (a competitor's price or stock changed): the current price is kept"
    """
    found = _REASON.fullmatch(reason)
    if found is None or found["cause"] not in CAUSES or found["outcome"] not in OUTCOMES:
        return CAUSES.get(reason, reason)
    text = CAUSES[found["cause"]]
    if found["after"] in CAUSES:
        text += f" ({CAUSES[found['after']]})"
    if found["signal"]:
        text += f" ({signal_text(found['signal'], float(found['effect']))})"
    if found["outcome"] not in (OutcomeCode.PUBLISHED, OutcomeCode.COLD_START):
        text += f": {OUTCOMES[found['outcome']]}"
    if found["limits"]:
        codes = [code for code in found["limits"].split(", ") if code in LIMITS]
        text += f"; limited by: {', '.join(LIMITS[code].name.lower() for code in codes)}"
    return text
