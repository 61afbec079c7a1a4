"""Guardrails: the check suite over all of them. Tests of each rule are in ``test_guardrail_rules.py``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.pricing import guardrails as package
from jobs.pricing.decision.inputs import Experience, StepResult
from jobs.pricing.decision.serialization import band_record, inputs_record
from jobs.pricing.decision.texts.limit_texts import limit_text
from jobs.pricing.guardrails import (
    GUARDRAIL_OF,
    GUARDRAILS,
    Guardrail,
    GuardrailContext,
    Kind,
    LimitRecord,
    intersect,
)
from jobs.pricing.policy_section import PolicySection
from jobs.pricing.rules.matching import AppliedRule, MatchedRules
from schemas.causes import Cause
from tests.jobs.pricing.guardrail_builders import AT_MS, MINUTE_MS, POLICY, a_context, bands_of, in_a_group
from tests.jobs.pricing.members import extra_file, member_classes


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
    rules=st.builds(
        lambda low, width, hold: MatchedRules(
            (AppliedRule("band", "band", (low, low + width)), *[AppliedRule("stop", "hold", True)] * hold)
        ),
        st.integers(1, 4000),
        st.integers(0, 1000),
        st.booleans(),
    ),
    experience=st.one_of(
        st.none(),
        st.builds(
            Experience,
            sufficient=st.booleans(),
            start_minor=st.one_of(st.none(), st.integers(1, 6000)),
            low_minor=st.one_of(st.none(), st.integers(1, 1000)),
            high_minor=st.one_of(st.none(), st.integers(1000, 6000)),
            step=st.one_of(
                st.none(), st.builds(StepResult, st.just(1000), st.just(1100), st.floats(0, 50), st.floats(0, 1))
            ),
        ),
    ),
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
    a_context(experience=Experience(low_minor=900, high_minor=1000)),
    in_a_group(a_context()),
    a_context(rules=MatchedRules((AppliedRule("floor", "band", (900, None)), AppliedRule("stop", "hold", True)))),
)
"""Contexts in which every guardrail returns a band at least once."""


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
