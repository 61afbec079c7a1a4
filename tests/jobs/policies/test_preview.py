"""Preview of a patch over real decisions of a bucket."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from features.bucket_logic import Output
from jobs.cli.policy_texts import preview_lines
from jobs.policies.preview import Preview, preview_decisions
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry
from schemas.listings import Listing
from tests.jobs.pricing.bucket.test_minutes import run_market
from tests.jobs.pricing.bucket_builders import NOON_MS
from tests.jobs.pricing.group_builders import GROUP, a_group_logic
from tests.jobs.pricing.pricing_builders import MINUTE_MS, SmallMarket, a_fact, an_offer, of_stream
from tests.jobs.pricing.rule_builders import a_rule_policy


@pytest.fixture(scope="module")
def some_hours() -> list[Output]:
    """The outputs of a market of four listings whose demand falls."""
    return run_market(RepricingLogic(), SmallMarket(4, 60.0), 200, 120)


def previewed(outputs: list[Output], policy: Policy, scope: str = "acme") -> Preview:
    """Return the preview of a policy for all listings of some outputs."""
    decisions = [
        orjson.loads(orjson.dumps(each, option=orjson.OPT_SERIALIZE_NUMPY))
        for each in of_stream(outputs, "decisions")
    ]
    entries = {
        Listing.key_in(d): CatalogEntry("e", 1, d["tenant"], d["market"], d["sku"], d["price_group"], "shoes",
                                        "margin", "USD", 1, True, 1200, 1999)
        for d in decisions
    }  # fmt: skip
    seen: list[tuple[int, int]] = []
    progress: Callable[[int, int], None] = lambda done, total: seen.append((done, total))  # noqa: E731
    found = preview_decisions(
        scope, decisions, entries, PolicyCatalog.of(of_stream(outputs, "policies")), lambda entry: policy, progress
    )
    assert seen[-1] == (len(decisions), len(decisions))
    return found


def test_policy_in_force_changes_nothing(some_hours: list[Output]) -> None:
    [row] = previewed(some_hours, Policy()).categories.values()
    assert row.listings == 4 and row.decisions > 4
    assert (row.changed, row.gain_minor, row.unpriceable) == (0, 0.0, {})
    assert row.bound == row.bound_before


def test_higher_minimum_margin_raises_prices_and_says_what_binds(some_hours: list[Output]) -> None:
    found = previewed(some_hours, Policy.from_dict({"margin": {"min_margin": 0.55}}))
    [row] = found.categories.values()
    assert row.changed == row.up == 4 and row.mean_change > 0.2
    assert row.bound["MIN_MARGIN"] > row.bound_before["MIN_MARGIN"]
    low, high = row.gain_interval
    assert low < row.gain_minor < high < 0, "prices far above the best ones lose"
    text = "\n".join(preview_lines(found))
    assert "4         4        4   0" in text and "MIN_MARGIN bounds" in text


def test_rules_are_previewed_with_the_hours_and_weekdays_of_the_decisions(some_hours: list[Output]) -> None:
    thursday = {"name": "low", "adjust": -0.08, "when": {"weekdays": ["thu"], "category": "shoes"}}
    [row] = previewed(some_hours, a_rule_policy(thursday)).categories.values()
    assert row.changed == row.down == 4 and -0.11 < row.mean_change < 0
    friday = thursday | {"when": {"weekdays": ["fri"]}}
    [row] = previewed(some_hours, a_rule_policy(friday)).categories.values()
    assert row.changed == 0


def test_bands_without_a_common_price_are_reported_with_their_reason(some_hours: list[Output]) -> None:
    policy = Policy.from_dict({"margin": {"min_margin": 0.6}, "limits": {"ceiling_over_list": 1.0}})
    [row] = previewed(some_hours, policy).categories.values()
    assert len(row.unpriceable) == 4 and all(row.unpriceable.values())


def test_decision_whose_policy_is_not_known_is_counted(some_hours: list[Output]) -> None:
    without = [output for output in some_hours if output.stream != "policies"]
    found = previewed(without, Policy())
    assert found.decisions == 0 and found.unreadable > 4
    assert "unreadable" in next(iter(preview_lines(found)))


def test_joint_decisions_are_made_again_under_the_patch() -> None:
    logic, outputs = a_group_logic()
    at_ms = NOON_MS + MINUTE_MS
    offer = an_offer(1500, at_ms, sku="s2", price_group=GROUP)
    outputs += list(logic.on_fact(a_fact("offers", offer, at_ms, 1)))
    [row] = previewed(outputs, Policy()).categories.values()
    assert (row.listings, row.changed) == (3, 0)
    [row] = previewed(outputs, Policy.from_dict({"margin": {"min_margin": 0.55}})).categories.values()
    assert row.changed == row.up == 3 and row.bound["MIN_MARGIN"] > row.bound_before["MIN_MARGIN"]
