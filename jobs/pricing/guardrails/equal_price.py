"""EQUAL_PRICE: all listings of a price group have one price, which the hard bands of all of them allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, Pin, money
from jobs.pricing.policy import Policy
from schemas.codes import OutcomeCode

if TYPE_CHECKING:
    from jobs.pricing.decision.groups.terms import GroupTerms, MemberTerms


class EqualPrice(Guardrail):
    """Allow the prices within the hard bands of all members of a price group; none where these exclude each other.

    A member at another price than its group's, or without one, takes the group's prices at once. A member that is
    held holds the group.
    """

    code = "EQUAL_PRICE"
    kind = Kind.HARD
    title = "One price in the group"
    meaning = "all listings of a price group have one price"
    advice = "make the limits of the named listings meet, or release the listing that is held"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the group's common hard band; None for a listing that is decided alone or is held itself."""
        inputs, terms = context.inputs, context.inputs.group
        if terms is None:
            return None
        member = terms.of(inputs.listing.key)
        if member.held is not None:
            return None
        detail = _sentence(terms, member, inputs.currency)
        if terms.outcome is OutcomeCode.HELD and terms.holders and not member.joins:
            return Band(self.code, self.kind, detail, pin=Pin.TABLE)
        pin = Pin.TABLE if member.joins else Pin.NOTHING
        return Band(self.code, self.kind, detail, terms.hard_low, terms.hard_high, pin)

    def text(self, limit: LimitRecord) -> str:
        """Name the members that hold the group, those that conflict, or the common prices."""
        terms = limit.inputs.group
        if terms is None:
            return super().text(limit)
        return _sentence(terms, terms.of(limit.inputs.listing.key), limit.inputs.currency)


def _sentence(terms: GroupTerms, member: MemberTerms, currency: str) -> str:
    if terms.conflicting:
        bands = "; ".join(f"{each.listing} {_range(each.low, each.high, currency)}" for each in terms.conflicting)
        return f"the hard limits of the group's listings have no price in common: {bands}"
    if member.joins and terms.prices is not None:
        return "the listing takes the prices of its group at once, whatever its own limits on the pace"
    if terms.outcome is OutcomeCode.HELD and terms.holders:
        return "the group is held with " + "; ".join(f"{each.listing}: {each.held}" for each in terms.holders)
    others, common = len(terms.members) - 1, _range(terms.hard_low, terms.hard_high, currency)
    return f"one price with {others} other listing{'s' if others > 1 else ''}, {common} by the hard limits of all"


def _range(low: int, high: int | None, currency: str) -> str:
    return (
        f"at least {money(low, currency)}"
        if high is None
        else f"{money(low, currency)} to {money(high, currency)}"
    )
