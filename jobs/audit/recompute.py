"""Decisions recomputed from their own records: whether each is reproduced, and what rivals' offers changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from jobs.pricing.decision.reprice import recompute, recompute_without_offer
from jobs.pricing.decision.serialization import InputsError
from jobs.pricing.policies import PolicyCatalog


def same_bytes(ours: Any, recorded: Any) -> bool:
    """Return whether a recomputed result equals the recorded one bit for bit, whatever the order of keys.

    >>> same_bytes({"a": 0.1, "b": [1]}, {"b": [1], "a": 0.1}), same_bytes({"a": 1}, {"a": 1.0})
    (True, False)
    """
    option = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(ours, option=option) == orjson.dumps(recorded, option=option)


@dataclass(slots=True)
class Audit:
    """Result of checking decisions; a repeated decision counts once.

    Attributes
    ----------
    differing : ids of decisions that are not reproduced from their record.
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
    policies: PolicyCatalog = field(default_factory=PolicyCatalog)
    _seen: set[str] = field(default_factory=set)

    @property
    def recomputed(self) -> int:
        """Number of decisions checked."""
        return len(self._seen)

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
        except InputsError as error:
            self.refusals[name] = str(error)
            same = False
        if not same:
            self.differing.append(name)
        elif without_offer:
            again = recompute_without_offer(decision, self.policies)
            same_price = again["default_minor"] == result["default_minor"]
            self.moved[what] += not (same_price and same_bytes(again["table"], result["table"]))

    @classmethod
    def of(
        cls, decisions: Iterable[Mapping[str, Any]], policies: PolicyCatalog, *, without_offer: bool = False
    ) -> Audit:
        """Return the audit of several decisions."""
        audit = cls(policies=policies)
        for decision in decisions:
            audit.check(decision, without_offer=without_offer)
        return audit
