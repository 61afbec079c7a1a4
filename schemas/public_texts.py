"""What people read where a record carries a code: one text per cause, outcome, guardrail and refusal.

The codes (:mod:`schemas.codes`) stay in records, logs and JSON; these texts are shown to people by ``walras
explain``, the page, the live view and the edge. A test holds every enum to have all of its texts.
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


class Limit(NamedTuple):
    """A guardrail in words: its name, what it does, and what to do where it holds a price."""

    name: str
    does: str
    advice: str = ""


LIMITS: Mapping[str, Limit] = {
    GuardrailCode.COST_MISSING: Limit(
        "Cost missing", "without a cost above 0 no price is computed", "send a catalog entry with a cost"
    ),
    GuardrailCode.INPUT_INVALID: Limit(
        "Input not trusted", "the list price, the currency or the cost cannot be used",
        "correct the catalog entry if it is wrong",
    ),
    GuardrailCode.MIN_MARGIN: Limit("Minimum margin", "no price below the cost plus the least margin"),
    GuardrailCode.MARKET_CAP: Limit("Market cap", "no price far above the rivals' average"),
    GuardrailCode.FLOOR_CEILING: Limit("Floor and ceiling", "no price outside the catalog's floor and ceiling"),
    GuardrailCode.SURGE_BAN: Limit("Emergency", "no price increase while an emergency is declared"),
    GuardrailCode.EQUAL_PRICE: Limit("Equal price", "one price for all listings of a price group"),
    GuardrailCode.UNIFORM: Limit("Uniform price", "one price for all customers"),
    GuardrailCode.STEP_LIMIT: Limit("Step limit", "one change moves the price only so far"),
    GuardrailCode.APPROVAL: Limit("Approval", "a large change is published one step at a time until approved"),
    GuardrailCode.LOW_CONFIDENCE: Limit(
        "Low confidence", "a change that may as well lose profit is not made", "review the decision"
    ),
    GuardrailCode.MIN_GAP: Limit("Minimum gap", "two changes lie a minimum time apart"),
    GuardrailCode.MAX_CHANGES: Limit("Changes per day", "only so many changes a day"),
    GuardrailCode.FORWARD_BUYING: Limit(
        "Forward buying", "what customers stock up on at a deal they do not buy later at the usual price"
    ),
    GuardrailCode.STALE_OFFERS: Limit(
        "Rivals' prices out of date", "old prices of rivals move no price and only limit increases",
        "check the feed of rivals' offers",
    ),
    GuardrailCode.OFFER_OUTLIER: Limit(
        "Unlikely offer", "an unlikely price of a rival is left out until it is seen twice"
    ),
    GuardrailCode.PRICE_WAR: Limit("Price war", "rivals' prices fell together: no cut below the margin floor"),
    GuardrailCode.FROZEN: Limit("Frozen", "an operator keeps the price as it is", "unfreeze it to let it move"),
    GuardrailCode.PORTFOLIO_BRAKE: Limit("Portfolio brake", "too many prices moved at once: publishing stopped"),
}  # fmt: skip
"""Every guardrail in words."""

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
"""What an operator did."""

SIGNALS: Mapping[str, str] = {
    "velocity": "orders",
    "abandonment": "odds that a search ends without an order",
    "stock_pressure": "units sold against plan",
}
"""What each of the watcher's signals measures."""


def signal_text(signal: str, effect: float) -> str:
    """Say what a signal found.

    >>> signal_text("velocity", 0.8)
    'orders ×0.8'
    """
    return f"{SIGNALS.get(signal, 'demand')} ×{effect:g}"


_REASON = re.compile(
    r"(?P<cause>[A-Z_]+)(?: after (?P<after>[A-Z_]+))?(?: (?P<signal>[a-z_]+) ×(?P<effect>[0-9.e+-]+))?"
    r": (?P<outcome>[A-Z_]+)(?P<price>[^()]*)(?:\((?P<limits>[A-Z_, ]+)\))?"
)


def reason_text(reason: str) -> str:
    """Return the reason that a table or a decision carries in words; one of another form as it is.

    >>> reason_text("EVIDENCE velocity ×0.8: PUBLISHED 19.99 USD → 21.49 USD (STEP_LIMIT, APPROVAL)")
    'demand changed (orders ×0.8); limited by: step limit, approval'
    >>> reason_text("CONTINUED after RIVAL_MOVED: HELD 19.99 USD")
    "next step of an earlier change (a competitor's price or stock changed): the current price is held"
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
