"""Causes: what may trigger a repricing, one line per cause.

To add one, add a member to :class:`Cause`. It carries its words for pricing managers and shoppers, a template
for its detail in ``walras explain``, and how decisions treat it. Then request it where it arises
(``RepricingRequests.add``). A test renders every cause with every outcome and needs an example in ``CAUSE_TEXTS``
(tests/jobs/pricing/decision/test_explain.py).
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Event that triggered a repricing.

    Attributes
    ----------
    text : words for pricing managers.
    shopper_text : words for shoppers, without details.
    detail : template over the values of the cause's detail; empty where ``walras explain`` formats them itself.
    by_evidence : whether evidence or a fact about demand, rivals, stock or cost is behind it, not an operator.
    needs_gain : whether a change of this cause is published only if it is expected to gain something.
    ignores_pace : whether pace limits are left aside, since the prices must not depend on the path.
    """

    text: str
    shopper_text: str
    detail: str
    by_evidence: bool
    needs_gain: bool
    ignores_pace: bool

    def __new__(
        cls,
        code: str,
        text: str,
        shopper_text: str,
        detail: str = "",
        by_evidence: bool = False,
        needs_gain: bool = True,
        ignores_pace: bool = False,
    ) -> Cause:
        """Create a member from its line."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.text, member.shopper_text, member.detail = text, shopper_text, detail
        member.by_evidence, member.needs_gain, member.ignores_pace = by_evidence, needs_gain, ignores_pace
        return member

    EVIDENCE = "EVIDENCE", "demand changed", "demand has changed", "", True
    GROUP_EVIDENCE = "GROUP_EVIDENCE", "demand changed across the price group", "demand has changed", "", True
    GROUP_JOINED = (
        "GROUP_JOINED",
        "another listing of the price group got its first price",
        "prices were reviewed",
        "{listing}",
    )
    GROUP_LEFT = (
        "GROUP_LEFT",
        "another listing left the price group or is not for sale",
        "prices were reviewed",
        "{listing}",
    )
    RIVAL_MOVED = ("RIVAL_MOVED", "a competitor's price or stock changed", "market prices have changed", "", True)
    STOCK_OUT = (
        "STOCK_OUT",
        "the item sold out",
        "availability has changed",
        "{on_hand:,} units in stock, {inbound:,} on the way",
        True,
    )
    RESTOCKED = (
        "RESTOCKED",
        "the item is back in stock",
        "availability has changed",
        "{on_hand:,} units in stock, {inbound:,} on the way",
        True,
    )
    COST_CHANGED = "COST_CHANGED", "the catalog entry changed", "costs have changed", "", True
    BELIEFS_MOVED = "BELIEFS_MOVED", "the demand estimate changed", "the demand estimate has changed"
    DEMAND_CHANGED = (
        "DEMAND_CHANGED",
        "a change in how shoppers respond was confirmed",
        "demand has changed",
        "",
        True,
    )
    FALLBACK_CHANGED = (
        "FALLBACK_CHANGED",
        "the way to find a price changed, because an input was lost or is back",
        "prices were reviewed",
    )
    EVENT_STARTED = "EVENT_STARTED", "a calendar event started", "a seasonal price", "{event} ({kind})", True
    EVENT_ENDED = "EVENT_ENDED", "a calendar event ended", "a seasonal price has ended", "{event} ({kind})", True
    POLICY_CHANGED = "POLICY_CHANGED", "the policy changed", "set by the shop"
    RULE_TURNED = "RULE_TURNED", "a pricing rule began or ended", "set by the shop", "{rule} ({turned})"
    COMMAND = "COMMAND", "an operator's command", "set by the shop"
    SETTLE = "SETTLE", "an operator requested new prices", "prices were reviewed", "", False, False, True
    COLD_START = "COLD_START", "first price of the listing", "a first price", "", False, False
    CONTINUED = "CONTINUED", "next step of an earlier change", "a price change in steps", "", True
