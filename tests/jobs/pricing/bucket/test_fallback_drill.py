"""A drill of the fallback chain: one listing goes down it step by step, and up again.

The real logic is driven with event time alone, and restarted from its snapshot after every step. At each step the
record states the stage and the reasons, the prices keep all bounds, and the record is recomputed bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from features.array_text import array_text
from features.bucket_logic import Batch, Output
from jobs.audit.recompute import same_bytes
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from tests.jobs.pricing.bucket_builders import KEY, an_estimate, state_value
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    a_catalog_entry,
    a_fact,
    an_offer,
    catalog_of,
    of_stream,
    restarted,
)

HOUR_MS = 60 * MINUTE_MS
POLICY = Policy.from_dict({"fallback": {"max_estimate_age_minutes": 360}, "elasticity": {"tell": "changed"}})
REFUSED = {"sufficient": "not_identified", "reason": "no_exposures"}


class Drill:
    """One bucket under :data:`POLICY`; every step returns its decisions, checked, after a restart."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.logic, self.policy, self.at_ms, self.offset = RepricingLogic(policy), policy, START_MS, 0

    def minutes(self, count: int, **content: Any) -> list[dict[str, Any]]:
        """Send minutes, the content in the first of them; return the decisions."""
        outputs: list[Output] = []
        for number in range(count):
            self.at_ms += MINUTE_MS
            given = content if number == 0 else {}
            outputs += self.logic.on_batch(Batch(0, self.at_ms, now_ms=self.at_ms, **given))
        return self.checked(outputs)

    def fact(self, kind: str, value: Any) -> list[dict[str, Any]]:
        """Send a fact of now; return the decisions."""
        self.offset += 1
        return self.checked(list(self.logic.on_fact(a_fact(kind, value, self.at_ms, self.offset))))

    def estimate(self, mean: float = -2.5, sku: str = "s1", **changes: Any) -> list[dict[str, Any]]:
        """Send an estimate of now; return the decisions."""
        return self.fact("estimates", replace(an_estimate(mean, 0.1, self.at_ms, sku), **changes))

    def catalog(self, **changes: Any) -> list[dict[str, Any]]:
        """Send a catalog entry of now; return the decisions."""
        return self.fact("catalog", a_catalog_entry(at_ms=self.at_ms, **changes))

    def offer(self, price_minor: int) -> list[dict[str, Any]]:
        """Send a rival's offer of now; return the decisions."""
        return self.fact("offers", an_offer(price_minor, self.at_ms))

    def checked(self, outputs: list[Output]) -> list[dict[str, Any]]:
        """Return the decisions among some outputs; restart the logic."""
        found: list[dict[str, Any]] = orjson.loads(
            orjson.dumps(list(of_stream(outputs, "decisions")), default=array_text)
        )
        for decision in found:
            assert same_bytes(recompute(decision, catalog_of(self.policy)), decision["result"])
            assert_bounded(decision)
        self.logic = restarted(self.logic)
        return found


def assert_bounded(decision: dict[str, Any]) -> None:
    """Check that published prices keep the hard bands, the least margin and the step."""
    inputs, result = decision["inputs"], decision["result"]
    for of_segment in (result["table"] or {}).values():
        low, high = result["hard"]
        assert low <= min(of_segment["p"]) and (high is None or max(of_segment["p"]) <= high)
        if inputs["catalog"]["cost_minor"]:
            assert min(of_segment["p"]) >= inputs["catalog"]["cost_minor"] / 0.9
        if inputs["current"]:
            shown = inputs["current"]["default_minor"]
            assert 0.9 * shown <= min(of_segment["p"]) and max(of_segment["p"]) <= 1.1 * shown


def stage(decision: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the stage and the reasons of a decision's record."""
    result = decision["result"]
    return result.get("fallback", "none"), result.get("fallback_reasons", [])


def test_chain_goes_down_and_up_with_stage_reason_and_bounds() -> None:
    drill = Drill()

    # The first price, and the model in use.
    [first] = drill.minutes(1, catalog=(a_catalog_entry(),))
    assert first["cause"] == Cause.COLD_START and stage(first) == ("none", [])
    drill.minutes(120, offers=(an_offer(1900, drill.at_ms),))
    drill.estimate()
    assert state_value(drill.logic, "fallback") == []

    # Refused: the rule, from margin and rivals.
    [down] = drill.estimate(**REFUSED)
    assert down["cause"] == Cause.FALLBACK_CHANGED and stage(down) == ("rule", ["not_identified"])
    assert down["result"]["candidate_minor"] == 1799
    assert all(stage(each)[0] == "rule" for each in drill.minutes(120))

    # A usable estimate again: the model.
    [up] = drill.estimate()
    assert up["cause"] == Cause.FALLBACK_CHANGED and stage(up) == ("none", [])

    # Missing: too old after six hours, found within the hour after.
    assert all(stage(each) == ("none", []) for each in drill.minutes(360))
    old = [each for each in drill.minutes(60) if each["cause"] == Cause.FALLBACK_CHANGED]
    assert [stage(each) for each in old] == [("rule", ["estimate_too_old"])]

    # Rivals stale: the rule without them.
    stale = [each for each in drill.minutes(1_440) if each["cause"] == Cause.FALLBACK_CHANGED]
    assert [stage(each) for each in stale] == [("rule", ["estimate_too_old", "rivals_stale"])]
    assert stale[0]["result"]["candidate_minor"] == 1699

    # No cost: the last table stays.
    shown = stale[0]["result"]["default_minor"]
    [kept] = drill.catalog(cost_minor=None)
    assert kept["cause"] == Cause.COST_CHANGED and stage(kept) == ("last_table", ["estimate_too_old", "no_cost"])
    assert kept["result"]["outcome"] == OutcomeCode.HELD and not kept["published"]
    assert kept["result"]["default_minor"] <= shown
    assert drill.minutes(120) == []

    # And up: the cost, the rivals, the estimate.
    [costed] = drill.catalog()
    assert stage(costed) == ("rule", ["estimate_too_old", "rivals_stale"])
    drill.minutes(90)
    [rivals] = drill.offer(1950)
    assert rivals["cause"] == Cause.RIVAL_MOVED and stage(rivals) == ("rule", ["estimate_too_old"])
    [model] = drill.estimate()
    assert model["cause"] == Cause.FALLBACK_CHANGED and stage(model) == ("none", [])
    assert state_value(drill.logic, "fallback") == []


def test_listing_without_cost_and_table_stays_at_its_list_price_until_the_cost_comes() -> None:
    drill = Drill()
    [held] = drill.minutes(1, catalog=(a_catalog_entry(cost_minor=None),))
    assert stage(held) == ("list_price", ["no_cost"]) and not held["published"]
    assert held["result"]["default_minor"] == 1999
    assert drill.minutes(90) == []
    drill.catalog()
    [first] = drill.minutes(1)
    assert first["cause"] == Cause.COLD_START and stage(first) == ("none", []) and first["published"]


def test_list_price_above_the_ceiling_is_published_at_the_ceiling() -> None:
    [decision] = Drill().minutes(1, catalog=(a_catalog_entry(cost_minor=None, ceiling_minor=1750),))
    assert stage(decision) == ("list_price", ["no_cost"])
    assert decision["published"] and decision["result"]["default_minor"] == 1750


def test_only_the_listing_whose_stage_changes_is_repriced() -> None:
    drill = Drill()
    drill.minutes(1, catalog=tuple(a_catalog_entry(sku) for sku in ("s1", "s2", "s3")))
    drill.minutes(90)
    for sku in ("s1", "s2", "s3"):
        drill.estimate(sku=sku)
    drill.minutes(90)
    assert [each["inputs"]["listing"] for each in drill.estimate(**REFUSED)] == [KEY]
    # The same state again is no change.
    assert drill.estimate(**REFUSED) == []


def test_unusable_estimate_leads_to_the_rule_and_keeps_the_numbers_before() -> None:
    drill = Drill()
    drill.minutes(1, catalog=(a_catalog_entry(),))
    drill.minutes(90)
    drill.estimate(-3.0)
    drill.minutes(90)
    [decision] = drill.estimate(-3.0, sd=0.0)
    assert stage(decision)[0] == "rule" and "estimate_unusable" in stage(decision)[1]
    assert state_value(drill.logic, "estimate")[1] == -3.0


def test_default_policy_keeps_the_model_of_a_listing_whose_price_never_moved() -> None:
    drill = Drill(Policy())
    drill.minutes(1, catalog=(a_catalog_entry(),))
    drill.minutes(90)
    never = drill.estimate(sufficient="not_identified", reason="price_never_moved")
    later = drill.minutes(1_440)
    assert {stage(each)[0] for each in (*never, *later)} <= {"none"}
