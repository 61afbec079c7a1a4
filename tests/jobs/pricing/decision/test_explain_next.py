"""explain: what follows a decision, and the command by which an operator answers it."""

from __future__ import annotations

import pytest

from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.texts.explain import WIDTH, explain
from jobs.pricing.policy import Policy
from schemas.codes import OutcomeCode
from tests.jobs.pricing.decision.test_explain import WORLDS, one_line
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import START_MS, a_record, catalog_of, some_inputs

LOW_CONFIDENCE = {"limits": {"min_confidence": 0.999}}
APPROVES = "`walras approve acme/web-us-usd/s1 d1`"


def test_explanation_of_a_change_held_for_low_confidence_holds_the_command_that_approves_it() -> None:
    inputs = some_inputs(Policy.from_dict(LOW_CONFIDENCE))
    record = a_record(inputs)
    assert record["result"]["review"] and record["result"]["outcome"] == OutcomeCode.HELD
    text = " ".join(explain(record, catalog_of(inputs.policy)).split())
    assert f"Until 2026-01-02 00:00 UTC {APPROVES} lets the price go to 18.99 USD." in text
    assert "waits for a review" not in text and "Published with low confidence" not in text


def test_explanation_of_a_change_published_with_low_confidence_asks_to_check_it() -> None:
    inputs = some_inputs(Policy.from_dict(LOW_CONFIDENCE | {"fallback": {"hold_below_confidence": False}}))
    record = a_record(inputs)
    assert record["result"]["review"] and record["published"]
    assert "Published with low confidence: check it." in " ".join(
        explain(record, catalog_of(inputs.policy)).split()
    )


def test_explanation_of_a_held_cost_holds_the_command_that_accepts_it() -> None:
    text = one_line(a_record(some_inputs(catalog_cost_minor=2268)))
    assert f"Until 2026-01-02 00:00 UTC {APPROVES} accepts the cost 22.68 USD." in text


@pytest.mark.parametrize("world", ["plain", "no cost", "frozen", "no limit meets", "approved"])
def test_explanation_of_a_decision_that_awaits_no_answer_names_no_approval(world: str) -> None:
    assert "walras approve" not in one_line(a_record(some_inputs(**WORLDS[world])))


def test_explanation_names_the_minutes_until_the_next_step() -> None:
    record = a_record(some_inputs())
    record["result"]["continue_at_ms"] = START_MS + 3_600_000
    assert "The listing is decided again in 60 minutes: its limits may allow more then." in one_line(record)


@pytest.mark.parametrize(
    ("skus", "others"), [(("s1", "s2"), "1 other listing;"), (("s1", "s2", "s3"), "2 other listings;")]
)
def test_explanation_counts_the_other_listings_of_a_group(skus: tuple[str, ...], others: str) -> None:
    group = plan_group([a_member(sku) for sku in skus], "p1", "acme/web-us-usd/s1").to_record()
    assert f"Has one price with {others}" in one_line(a_record(some_inputs(group=group)))


def test_explanation_breaks_no_line_inside_a_listings_name() -> None:
    record = a_record(some_inputs(offers=[], elasticity={"mean": -1.5, "sd": 0.05}))
    for number in range(40):
        text = explain(record | {"decision_id": "d" * number}, catalog_of())
        assert text.count("acme/web-us-usd/s1") == 2 and max(map(len, text.splitlines())) <= WIDTH
