"""Builders of tests of pricing rules: policies, inputs, and random rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy import Policy
from jobs.pricing.rules.section import Rules
from tests.jobs.pricing.pricing_builders import some_inputs

KNOWN = {
    "category": "shoes", "on_hand": 40, "cover_days": 9.0, "age_days": 30.0, "hour": 9, "tags": ["new", "sale"],
    "weekday": 5,
}  # fmt: skip
"""Attributes of a listing on a Saturday at 9."""


def a_rule_policy(*rules: dict[str, Any], **sections: Any) -> Policy:
    """Return a policy with rules."""
    return Policy.from_dict({"rules": {"entries": list(rules)}} | sections)


def ruled(*rules: dict[str, Any], sections: dict[str, Any] | None = None, **changes: Any) -> PricingInputs:
    """Return inputs of a listing at 19.99, with all attributes known, under some rules."""
    return some_inputs(a_rule_policy(*rules, **(sections or {})), **({"attributes": KNOWN} | changes))


_conditions = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from(["shoes", "hats", ["shoes", "hats"]]),
        "role": st.sampled_from(["margin", "kvi", ["margin", "kvi"]]),
        "tags": st.sampled_from([["sale"], ["new", "sale"], ["old"]]),
        "weekdays": st.lists(st.sampled_from(["fri", "sat", "sun"]), min_size=1, unique=True),
        "least_stock": st.integers(0, 80),
        "most_cover_days": st.floats(0, 20),
        "least_rival_gap": st.floats(-0.2, 0.2),
    },
)
_hours = st.one_of(
    st.just({}),
    st.builds(lambda start, end: {"from_hour": start, "until_hour": end}, st.integers(0, 23), st.integers(1, 24)),
)
_actions = st.one_of(
    st.sampled_from(["cost_plus", "match_rival", "revenue_lp"]).map(lambda name: {"strategy": name}),
    st.sampled_from([-0.2, -0.1, 0.1]).map(lambda share: {"adjust": share}),
    st.floats(0.5, 1.5).map(lambda ratio: {"band": {"of": "list", "most": ratio}}),
    st.just({"hold": True}),
)
_validity = st.sampled_from(
    [{}, {"valid_from": "2026-01-01"}, {"valid_to": "2025-12-31"}, {"valid_from": "2026-01-02"}]
)
one_rule = st.builds(
    lambda action, when, hours, validity, level: {"priority": level, "when": when | hours} | action | validity,
    _actions, _conditions, _hours, _validity, st.integers(-2, 2),
)  # fmt: skip
rule_lists = st.lists(one_rule, max_size=8).map(
    lambda rules: [{"name": f"r{number}"} | rule for number, rule in enumerate(rules)]
)
"""Rules as plain data, with unique names."""


def a_section(rules: list[dict[str, Any]]) -> Rules:
    """Return the policy's section of some rules."""
    return Rules.model_validate({"entries": rules})
