"""Decisions recomputed from their own records: whether each is reproduced, and what rivals' offers changed.

The joint decision of a price group is recomputed from the records of all its members, which embed what it fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.reprice import recompute, recompute_without_offer, reprice
from jobs.pricing.decision.serialization import InputsError, decision_record, read_inputs
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy


def same_bytes(ours: Any, recorded: Any) -> bool:
    """Return whether a recomputed result equals the recorded one bit for bit, whatever the order of keys.

    >>> same_bytes({"a": 0.1, "b": [1]}, {"b": [1], "a": 0.1}), same_bytes({"a": 1}, {"a": 1.0})
    (True, False)
    """
    option = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(ours, option=option) == orjson.dumps(recorded, option=option)


def same_joint_decision(members: Collection[Mapping[str, Any]], policies: Mapping[str, Policy]) -> bool:
    """Return whether the joint decision of a price group follows from its members' own inputs, bit for bit.

    Parameters
    ----------
    members : the decisions of all members with one ``plan_id``, as read from the topic.
    policies : policies by hash.

    Raises
    ------
    InputsError
        If a record is of another version.
    """
    terms = [member["inputs"]["group"] for member in members]
    again = plan_group(
        (read_inputs(member["inputs"], policies) for member in members),
        terms[0]["plan_id"],
        terms[0]["requested_by"],
    )
    # Terms from before the group's strategy was recorded do not state it.
    unstated = replace(again, strategy=None, forbidden=())
    return all(same_bytes((again if "strategy" in each else unstated).to_record(), each) for each in terms)


@dataclass(slots=True)
class Audit:
    """Result of checking decisions; a repeated decision counts once.

    Attributes
    ----------
    differing : ids of decisions that are not reproduced from their record, or whose joint decision is not
        reproduced from the records of all members.
    joint : number of joint decisions of price groups recomputed from all members' records.
    refusals : by decision id, why a record could not be recomputed.
    outcomes : number of decisions by (cause, outcome).
    moved : of the reproduced decisions, by (cause, outcome), those with another default price or another table
        when no rival is known.
    policies : policies by the hash that decisions record.
    """

    differing: list[str] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    joint: int = 0
    policies: PolicyCatalog = field(default_factory=PolicyCatalog)
    _seen: set[str] = field(default_factory=set)
    _of_plan: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def recomputed(self) -> int:
        """Number of decisions checked."""
        return len(self._seen)

    @property
    def incomplete(self) -> int:
        """Number of joint decisions of which some members' records are missing; these are not recomputed."""
        return len(self._of_plan)

    def check(self, decision: Mapping[str, Any], *, without_offer: bool = False) -> None:
        """Check one decision as read from the topic."""
        name, result = decision["decision_id"], decision["result"]
        if name in self._seen:
            return
        self._seen.add(name)
        what = (decision["cause"], result["outcome"])
        self.outcomes[what] += 1
        try:
            same = same_bytes(recompute(decision, self.policies), result)
            self._check_group(decision, without_offer)
        except InputsError as error:
            self.refusals[name] = str(error)
            same = False
        if not same:
            self.differing.append(name)
        elif without_offer and decision["inputs"].get("group") is None:
            self._compare(decision, recompute_without_offer(decision, self.policies))

    def _compare(self, decision: Mapping[str, Any], again: Mapping[str, Any]) -> None:
        """Count a decision that has another default price or another table without rivals."""
        result = decision["result"]
        same_price = again["default_minor"] == result["default_minor"]
        what = (decision["cause"], result["outcome"])
        self.moved[what] += not (same_price and same_bytes(again["table"], result["table"]))

    def _check_group(self, decision: Mapping[str, Any], without_offer: bool) -> None:
        """Keep a member's record, and recompute the joint decision once all members' records are there."""
        terms = decision["inputs"].get("group")
        if terms is None:
            return
        found = self._of_plan.setdefault(terms["plan_id"], {})
        found[decision["inputs"]["listing"]] = decision
        if len(found) < len(terms["members"]):
            return
        del self._of_plan[terms["plan_id"]]
        self.joint += 1
        if not same_joint_decision(found.values(), self.policies):
            self.differing += [each["decision_id"] for each in found.values()]
        elif without_offer:
            inputs = [replace(read_inputs(each["inputs"], self.policies), offers=()) for each in found.values()]
            again = plan_group(inputs, terms["plan_id"], terms["requested_by"])
            for member, each in zip(inputs, found.values(), strict=True):
                self._compare(each, decision_record(reprice(replace(member, group=again))))

    @classmethod
    def of(
        cls, decisions: Iterable[Mapping[str, Any]], policies: PolicyCatalog, *, without_offer: bool = False
    ) -> Audit:
        """Return the audit of several decisions."""
        audit = cls(policies=policies)
        for decision in decisions:
            audit.check(decision, without_offer=without_offer)
        return audit
