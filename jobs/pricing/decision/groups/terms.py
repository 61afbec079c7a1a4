"""GroupTerms: what a joint decision fixed for all members of a price group, as an input of each member's decision.

Every member's record embeds the terms, so that it is recomputed alone. The terms follow from all members' own
inputs (:mod:`jobs.pricing.decision.groups.plan`), which an audit recomputes from the members' records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from jobs.pricing.rules.matching import AppliedRule
from schemas.codes import Fallback, FallbackReason, OutcomeCode
from schemas.price_table import PriceList


class MemberTerms(NamedTuple):
    """One member of the joint decision.

    ``listing``: its key. ``low``, ``high``: prices within its hard bands, minor units; None: no upper end.
    ``joins``: it takes the group's prices at once, whatever its own pace limits. ``held``: what holds it, None if
    nothing does. ``multiplier``: its shadow price, minor units per unit. ``below_demand``: it sells more than its
    target at every price. ``below_minimum``: its minimum sales are out of reach.
    """

    listing: str
    low: int
    high: int | None
    joins: bool = False
    held: str | None = None
    multiplier: float = 0.0
    below_demand: bool = False
    below_minimum: bool = False


class ForbiddenStrategy(NamedTuple):
    """A strategy that a member's role or pricing rule chooses, and that a member's role does not allow.

    ``role``, ``listing``: of the first member whose role does not allow it.
    """

    strategy: str
    role: str
    listing: str


@dataclass(frozen=True, slots=True)
class GroupTerms:
    """What a joint decision fixed.

    ``plan_id``: names the decision. ``requested_by``: key of the member that was to be repriced. ``outcome``: of
    the group. ``table_id``, ``prices``: the table that members have from now on; None where nothing is
    published. ``hard_low``, ``hard_high``: prices within all members' hard bands; empty where they exclude each
    other. ``allowed_low``, ``allowed_high``: within the pace limits too. ``candidate_minor``: the best common
    price before pace limits. ``gain_minor``, ``gain_sd_minor``, ``confidence``: gain of the group per period; None
    where none was computed or required. ``objective_minor``: the LP's. ``continue_at_ms``: when a change that a
    pace limit cut short goes on. ``review``: an operator should look at it. ``rules``: the rules that choose the
    group's strategy and adjust its prices. ``fallback``, ``fallback_reasons``: the stage of the fallback chain
    that the group used. ``strategy``: name of the strategy that decided for the group; None in records from before
    it was recorded, whose members have the strategy that they would have alone, and no table at their list price.
    ``forbidden``: strategies that came before it and that a member's role does not allow.
    """

    plan_id: str
    requested_by: str
    members: tuple[MemberTerms, ...]
    outcome: OutcomeCode
    hard_low: int
    hard_high: int | None
    allowed_low: int = 1
    allowed_high: int | None = None
    table_id: str | None = None
    prices: Mapping[str, PriceList] | None = None
    candidate_minor: int | None = None
    gain_minor: float | None = None
    gain_sd_minor: float | None = None
    confidence: float | None = None
    objective_minor: float | None = None
    continue_at_ms: int | None = None
    review: bool = False
    rules: tuple[AppliedRule, ...] = ()
    fallback: Fallback = Fallback.NONE
    fallback_reasons: tuple[FallbackReason, ...] = ()
    strategy: str | None = None
    forbidden: tuple[ForbiddenStrategy, ...] = ()

    def of(self, listing: str) -> MemberTerms:
        """Return one member's terms.

        Raises
        ------
        ValueError
            If the listing is not a member.
        """
        found = next((member for member in self.members if member.listing == listing), None)
        if found is None:
            names = ", ".join(member.listing for member in self.members)
            raise ValueError(f"group: expected {listing} among the members, got {names}")
        return found

    @property
    def holders(self) -> tuple[MemberTerms, ...]:
        """The members that hold the group."""
        return tuple(member for member in self.members if member.held is not None)

    @property
    def conflicting(self) -> tuple[MemberTerms, ...]:
        """The members whose hard bands exclude each other: of the highest lower and of the lowest upper end."""
        if self.hard_high is None or self.hard_low <= self.hard_high:
            return ()
        ends = (self.hard_low, self.hard_high)
        return tuple(member for member in self.members if member.low == ends[0] or member.high == ends[1])

    def to_record(self) -> dict[str, Any]:
        """Return plain data; what a group does not have of fallbacks, rules and strategies has no key."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        reasons, fallback = record.pop("fallback_reasons"), record.pop("fallback")
        if fallback is not Fallback.NONE:
            record |= {"fallback": fallback.value, "fallback_reasons": [reason.value for reason in reasons]}
        prices = None
        if self.prices is not None:
            prices = {
                name: {"p": list(each.prices), "c": list(each.cumulative)} for name, each in self.prices.items()
            }
        members = [member._asdict() for member in self.members]
        # Absent without rules, as in records from before there were any.
        rules = {"rules": [rule.to_record() for rule in self.rules]} if self.rules else {}
        forbidden = {"forbidden": [each._asdict() for each in self.forbidden]} if self.forbidden else {}
        del record["rules"], record["forbidden"]
        if self.strategy is None:
            del record["strategy"]
        read = {"outcome": self.outcome.value, "members": members, "prices": prices}
        return record | read | rules | forbidden

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> GroupTerms:
        """Read :meth:`to_record` back; keys of later versions are left out."""
        values = {each.name: record[each.name] for each in fields(cls) if each.name in record}
        prices = record["prices"]
        if prices is not None:
            prices = {name: PriceList(tuple(each["p"]), tuple(each["c"])) for name, each in prices.items()}
        members = tuple(
            MemberTerms(**{name: each[name] for name in MemberTerms._fields if name in each})
            for each in record["members"]
        )
        read = {
            "outcome": OutcomeCode(record["outcome"]),
            "members": members,
            "prices": prices,
            "rules": tuple(AppliedRule(**each) for each in record.get("rules", ())),
            "forbidden": tuple(ForbiddenStrategy(**each) for each in record.get("forbidden", ())),
            "fallback": Fallback(record.get("fallback", Fallback.NONE)),
            "fallback_reasons": tuple(map(FallbackReason, record.get("fallback_reasons", ()))),
        }
        return cls(**(values | read))
