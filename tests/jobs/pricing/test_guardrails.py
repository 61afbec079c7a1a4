"""Guardrails: a check suite over all of them, and tests of each rule."""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.books.offers import ReferenceOffer
from jobs.pricing import guardrails as package
from jobs.pricing.decision.inputs import Controls, CurrentTable, DealCounts, Habits
from jobs.pricing.decision.limit_texts import limit_text
from jobs.pricing.decision.serialization import band_record, inputs_record
from jobs.pricing.guardrails import (
    GUARDRAIL_OF,
    GUARDRAILS,
    AllowedPrices,
    Band,
    Guardrail,
    GuardrailContext,
    Kind,
    LimitRecord,
    Pin,
    forward_buying,
    intersect,
)
from jobs.pricing.policy import Policy
from jobs.pricing.policy_section import PolicySection
from schemas.codes import Cause
from schemas.price_table import PriceList
from tests.jobs.pricing.members import extra_file, member_classes
from tests.jobs.pricing.pricing_builders import some_inputs

POLICY = Policy()
MINUTE_MS = 60_000
AT_MS = 10_000 * MINUTE_MS
BASE = some_inputs(POLICY, at_ms=AT_MS, offers=[])
PRODUCT = {
    "cost_minor": 600, "trusted_cost_minor": 600, "list_minor": 1000, "floor_minor": None, "ceiling_minor": None,
}  # fmt: skip


def a_context(**changes: Any) -> GuardrailContext:
    """Return the context of a listing at 10.00 with a cost of 6.00, rivals at 10.00 and a candidate at 10.50.

    Parameters
    ----------
    changes : values of the product, of ``current_minor`` (None: no table), ``last_change_ms``, ``changes_today``,
        ``rivals_mean_minor`` (None: no rivals), ``rivals_fresh``, ``cause``, ``currency``, ``frozen``,
        ``surge_ban``, ``approved_minor``, ``usual_minor``, ``bought``, ``candidate_minor``, ``confidence``.
    """
    product = replace(BASE.product, **{name: changes.pop(name, value) for name, value in PRODUCT.items()})
    shown, last, today = (
        changes.pop(name, default)
        for name, default in (("current_minor", 1000), ("last_change_ms", None), ("changes_today", 0))
    )
    prices = {} if shown is None else {"all": PriceList.from_propensities([shown], [1.0])}
    current = None if shown is None else CurrentTable(shown, prices, last, today)
    mean, fresh = changes.pop("rivals_mean_minor", 1000.0), changes.pop("rivals_fresh", True)
    rivals = None if mean is None else ReferenceOffer(mean, round(mean), round(mean), 1, AT_MS, fresh)
    bought = changes.pop("bought", None)
    inputs = replace(
        BASE,
        product=product,
        current=current,
        cause=changes.pop("cause", Cause.EVIDENCE),
        currency=changes.pop("currency", "USD"),
        controls=Controls(*(changes.pop(name, None) for name in ("frozen", "surge_ban", "approved_minor"))),
        habits=Habits(changes.pop("usual_minor", None), None if bought is None else DealCounts(*bought)),
    )
    candidate, confidence = changes.pop("candidate_minor", 1050), changes.pop("confidence", 0.9)
    assert not changes, changes
    return GuardrailContext(inputs, rivals, candidate, confidence)


def bands_of(context: GuardrailContext, guardrails: tuple[Guardrail, ...] = GUARDRAILS) -> dict[str, Band]:
    """Return the bands of some guardrails by code."""
    return {b.code: b for b in (g.band(context, POLICY) for g in guardrails) if b is not None}


def as_record(context: GuardrailContext) -> dict[str, Any]:
    """Return a context as plain data."""
    rivals = None if context.rivals is None else asdict(context.rivals)
    return inputs_record(context.inputs) | {
        "rivals": rivals, "candidate_minor": context.candidate_minor, "confidence": context.confidence,
    }  # fmt: skip


contexts = st.builds(
    a_context,
    cause=st.sampled_from(list(Cause)),
    current_minor=st.one_of(st.none(), st.integers(1, 5000)),
    cost_minor=st.one_of(st.none(), st.integers(-10, 3000)),
    trusted_cost_minor=st.one_of(st.none(), st.integers(1, 3000)),
    list_minor=st.one_of(st.none(), st.integers(-10, 5000)),
    floor_minor=st.one_of(st.none(), st.integers(0, 3000)),
    ceiling_minor=st.one_of(st.none(), st.integers(0, 6000)),
    rivals_mean_minor=st.one_of(st.none(), st.floats(1, 6000)),
    rivals_fresh=st.booleans(),
    surge_ban=st.one_of(st.none(), st.just("storm")),
    frozen=st.one_of(st.none(), st.just("frozen by ann")),
    last_change_ms=st.one_of(st.none(), st.integers(9_800 * MINUTE_MS, AT_MS)),
    changes_today=st.integers(0, 12),
    approved_minor=st.one_of(st.none(), st.integers(1, 6000)),
    candidate_minor=st.one_of(st.none(), st.integers(1, 6000)),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    usual_minor=st.one_of(st.none(), st.floats(1, 6000)),
    bought=st.one_of(st.none(), st.tuples(*[st.integers(0, 400)] * 4)),
)
EXAMPLES = (
    a_context(cost_minor=None),
    a_context(cost_minor=2000),
    a_context(frozen="frozen by ann"),
    a_context(surge_ban="storm"),
    a_context(candidate_minor=2001),
    a_context(rivals_fresh=False),
    a_context(last_change_ms=AT_MS - MINUTE_MS, changes_today=9),
    a_context(usual_minor=1100.0, bought=(5, 16, 100, 120)),
    a_context(usual_minor=1100.0, bought=(0, 0, 9, 9)),
    a_context(confidence=0.1),
)
"""Contexts in which every guardrail returns a band at least once."""


# -- the check suite ----------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(contexts, st.permutations(GUARDRAILS))
def test_bands_do_not_depend_on_the_order_of_the_guardrails(
    context: GuardrailContext, shuffled: list[Guardrail]
) -> None:
    straight, other = bands_of(context), bands_of(context, tuple(shuffled))
    assert straight == other == bands_of(context)
    for kinds in ({Kind.HARD}, {Kind.HARD, Kind.PACE}):
        assert intersect(b for b in straight.values() if b.kind in kinds) == intersect(
            b for b in other.values() if b.kind in kinds
        )


@settings(max_examples=80, deadline=None)
@given(contexts)
def test_guardrails_leave_the_context_unchanged(context: GuardrailContext) -> None:
    before = as_record(context)
    bands_of(context)
    assert as_record(context) == before


@settings(max_examples=40, deadline=None)
@given(contexts)
def test_guardrail_that_needs_no_candidate_does_not_read_it(context: GuardrailContext) -> None:
    without = replace(context, candidate_minor=None, confidence=None)
    for guardrail in GUARDRAILS:
        if not guardrail.needs_candidate:
            assert guardrail.band(context, POLICY) == guardrail.band(without, POLICY)


@settings(max_examples=80, deadline=None)
@given(contexts)
def test_bands_carry_the_code_and_kind_of_their_guardrail(context: GuardrailContext) -> None:
    for guardrail in GUARDRAILS:
        band = guardrail.band(context, POLICY)
        if band is not None:
            assert (band.code, band.kind) == (guardrail.code, guardrail.kind) and band.detail


@settings(max_examples=80, deadline=None)
@given(contexts)
def test_text_renders_for_every_band(context: GuardrailContext) -> None:
    for band in bands_of(context).values():
        record = band_record(band)
        text = GUARDRAIL_OF[band.code].text(LimitRecord(record, context.inputs, context.candidate_minor))
        assert text and text == text.strip() and not text.endswith(".")
        assert text in limit_text(record, context.inputs, context.candidate_minor)


@pytest.mark.parametrize("guardrail", GUARDRAILS, ids=lambda guardrail: guardrail.code)
def test_every_guardrail_has_title_meaning_and_text(guardrail: Guardrail) -> None:
    assert guardrail.title[0].isupper() and guardrail.meaning and not guardrail.meaning.endswith(".")
    [(context, band), *_] = [(c, band) for c in EXAMPLES if (band := guardrail.band(c, POLICY)) is not None]
    text = limit_text(band_record(band), context.inputs, context.candidate_minor)
    assert text.startswith(f"{guardrail.title}: ") and text.endswith(".") and guardrail.code not in text


@pytest.mark.parametrize("guardrail", GUARDRAILS, ids=lambda guardrail: guardrail.code)
def test_text_of_a_guardrail_without_its_own_is_its_meaning(guardrail: Guardrail) -> None:
    bounded = LimitRecord({"low": 900, "high": None}, a_context().inputs, None)
    assert Guardrail.text(guardrail, bounded) == f"{guardrail.meaning}, at least 9.00 USD"
    unbounded = LimitRecord({"low": None, "high": None}, a_context().inputs, None)
    assert Guardrail.text(guardrail, unbounded) == guardrail.meaning


@pytest.mark.parametrize(
    "guardrail", [g for g in GUARDRAILS if g.settings is not None], ids=lambda guardrail: guardrail.code
)
def test_policy_holds_the_section_of_a_guardrail(guardrail: Guardrail) -> None:
    assert guardrail.settings is not None and issubclass(guardrail.settings, PolicySection)
    assert POLICY.section(guardrail.settings) == guardrail.settings()
    assert POLICY.to_dict()[guardrail.settings.key] == guardrail.settings().model_dump(mode="json")


def test_every_class_in_the_folder_is_in_the_tuple() -> None:
    written = member_classes(package, Guardrail)
    assert set().union(*written.values()) == {type(guardrail) for guardrail in GUARDRAILS}
    assert all(written.values()), "every file defines a guardrail"


def test_listing_the_folder_finds_a_file_missing_from_the_tuple(tmp_path: Path) -> None:
    text = "from jobs.pricing.guardrails.market import MarketCap\n\n\nclass NewRule(MarketCap):\n    pass\n"
    with extra_file(package, tmp_path, "new_rule", text):
        [found] = member_classes(package, Guardrail)["new_rule"]
    assert found.__name__ == "NewRule" and found not in {type(guardrail) for guardrail in GUARDRAILS}


def test_codes_are_unique_and_upper_case() -> None:
    codes = [guardrail.code for guardrail in GUARDRAILS]
    assert len(set(codes)) == len(codes) == len(GUARDRAIL_OF)
    assert all(code == code.upper() for code in codes)


# -- inputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [None, 0, -5, float("nan"), float("inf")])
def test_missing_or_unusable_cost_holds(cost: float | None) -> None:
    band = bands_of(a_context(cost_minor=cost))["COST_MISSING"]
    assert band.kind is Kind.HOLD and "cost" in band.detail


@pytest.mark.parametrize(("cost", "holds"), [(900, False), (901, True), (400, False), (399, True), (60, True)])
def test_cost_that_moves_by_more_than_half_at_once_holds(cost: int, holds: bool) -> None:
    assert ("INPUT_INVALID" in bands_of(a_context(cost_minor=cost))) is holds


@pytest.mark.parametrize(
    "change", [{"list_minor": None}, {"list_minor": 0}, {"list_minor": 2**63 - 1}, {"currency": "XXX"}]
)
def test_listing_without_a_usable_list_price_or_currency_holds(change: dict[str, Any]) -> None:
    assert bands_of(a_context(**change))["INPUT_INVALID"].kind is Kind.HOLD


def test_freeze_holds() -> None:
    assert bands_of(a_context(frozen="frozen by ann"))["FROZEN"].kind is Kind.HOLD


# -- hard bands ---------------------------------------------------------------------------------


def test_margin_band_names_its_least_price() -> None:
    band = bands_of(a_context(cost_minor=901))["MIN_MARGIN"]
    assert band.low == 1002 and (1002 - 901) / 1002 >= 0.10 > (1001 - 901) / 1001
    assert "10.02 USD" in band.detail


def test_candidate_at_twice_the_rivals_mean_is_not_capped() -> None:
    assert bands_of(a_context(candidate_minor=2000))["MARKET_CAP"].high == 2000


def test_candidate_above_twice_the_rivals_mean_is_capped_at_one_and_a_half() -> None:
    capped = bands_of(a_context(candidate_minor=2001))["MARKET_CAP"]
    assert capped.high == 1500 and capped.alert


def test_approval_replaces_the_market_cap_in_band_and_detail() -> None:
    band = bands_of(a_context(candidate_minor=2500, approved_minor=2500))["MARKET_CAP"]
    assert band.high == 2500 and "approval" in band.detail


def test_blank_or_zero_floor_is_no_limit() -> None:
    band = bands_of(a_context(floor_minor=0, ceiling_minor=None))["FLOOR_CEILING"]
    assert band.low is None and band.high == 1500


def test_catalogs_band_has_both_ends() -> None:
    band = bands_of(a_context(floor_minor=900, ceiling_minor=1100))["FLOOR_CEILING"]
    assert (band.low, band.high) == (900, 1100)


def test_emergency_bans_increases() -> None:
    assert bands_of(a_context(surge_ban="storm"))["SURGE_BAN"].high == 1000


# -- pace bands ---------------------------------------------------------------------------------


def test_stale_offers_cap_increases_at_their_mean() -> None:
    bands = bands_of(a_context(rivals_fresh=False, rivals_mean_minor=1020.0, candidate_minor=5000))
    assert bands["STALE_OFFERS"].high == 1020 and "MARKET_CAP" not in bands


def test_stale_offers_below_the_current_price_do_not_lower_it() -> None:
    bands = bands_of(a_context(rivals_fresh=False, rivals_mean_minor=800.0, candidate_minor=5000))
    assert bands["STALE_OFFERS"].high == 1000


def test_step_limit_rounds_towards_the_current_price() -> None:
    band = bands_of(a_context(current_minor=1005))["STEP_LIMIT"]
    assert (band.low, band.high) == (905, 1105)


@pytest.mark.parametrize("candidate", [1200, 800])
def test_candidate_within_twenty_per_cent_needs_no_approval(candidate: int) -> None:
    assert "APPROVAL" not in bands_of(a_context(candidate_minor=candidate))


@pytest.mark.parametrize("candidate", [1201, 799])
def test_candidate_beyond_twenty_per_cent_moves_one_step_until_approved(candidate: int) -> None:
    band = bands_of(a_context(candidate_minor=candidate))["APPROVAL"]
    assert (band.low, band.high) == (900, 1100)


def test_table_is_kept_until_the_minimum_gap_is_over() -> None:
    gap = bands_of(a_context(last_change_ms=(10_000 - 59) * MINUTE_MS))["MIN_GAP"]
    assert gap.pin is Pin.TABLE and gap.until_ms == 10_001 * MINUTE_MS
    assert "MIN_GAP" not in bands_of(a_context(last_change_ms=(10_000 - 60) * MINUTE_MS))


def test_table_is_kept_after_the_most_changes_of_a_day() -> None:
    assert bands_of(a_context(changes_today=8))["MAX_CHANGES"].pin is Pin.TABLE
    assert "MAX_CHANGES" not in bands_of(a_context(changes_today=7))


def test_low_confidence_pins_the_main_prices() -> None:
    assert bands_of(a_context(confidence=0.49))["LOW_CONFIDENCE"].pin is Pin.MAIN


@pytest.mark.parametrize("change", [{"confidence": 0.1, "cause": Cause.COLD_START}, {"confidence": None}])
def test_low_confidence_needs_a_gain_to_compare(change: dict[str, Any]) -> None:
    assert "LOW_CONFIDENCE" not in bands_of(a_context(**change))


def test_settling_has_no_pace_bands() -> None:
    context = a_context(
        cause=Cause.SETTLE, candidate_minor=1400, confidence=0.1, changes_today=99, last_change_ms=AT_MS
    )
    assert not [b for b in bands_of(context).values() if b.kind is Kind.PACE]


# -- forward buying -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bought", "pin"),
    [
        ((4, 12, 100, 120), Pin.CHOICE),  # too few orders to judge: only exploration shows deals
        ((5, 16, 100, 120), Pin.TABLE_PRICES),  # three units an order: bought ahead
    ],
)
def test_prices_far_below_the_usual_one_are_bounded(bought: tuple[int, ...], pin: Pin) -> None:
    band = bands_of(a_context(usual_minor=1100.0, bought=bought))["FORWARD_BUYING"]
    assert (band.pin, band.low, band.high) == (pin, 1056, None)


def test_deals_with_as_many_units_an_order_as_usual_are_not_bounded() -> None:
    assert "FORWARD_BUYING" not in bands_of(a_context(usual_minor=1100.0, bought=(40, 50, 400, 480)))


def test_forward_buying_is_believed_at_the_least_z() -> None:
    bought = DealCounts(5, 16, 100, 120)
    policy = Policy.from_dict({"forward_buying": {"least_z": forward_buying.units_z(bought)}})
    assert forward_buying.is_bought_ahead(900, 1000.0, bought, policy)


# -- intersections ------------------------------------------------------------------------------


def test_intersection_is_empty_exactly_when_no_price_is_in_all_bands() -> None:
    ends = [None, 90, 100, 110]
    for (l1, h1), (l2, h2) in itertools.product(itertools.product(ends, repeat=2), repeat=2):
        pair = [Band("MIN_MARGIN", Kind.HARD, "", *lh) for lh in ((l1, h1), (l2, h2))]
        allowed = intersect(pair)
        inside = [p for p in range(1, 130) if all((b.low or 1) <= p <= (b.high or 999) for b in pair)]
        assert allowed.empty is not bool(inside)
        assert [p for p in range(1, 130) if p in allowed] == inside


def test_nearest_allowed_price_is_the_end_of_the_intersection() -> None:
    assert AllowedPrices(5, 9).nearest(12) == 9
