"""The list of features."""

from __future__ import annotations

import re

from features.registry import FEATURES, PUBLIC_NAMES, SOURCE_001


def test_names_of_source_001_are_public():
    assert len(SOURCE_001) == 10 and set(SOURCE_001) <= set(PUBLIC_NAMES)


def test_names_are_unique_and_well_formed():
    names = [spec.name for spec in FEATURES]
    assert len(set(names)) == len(names) and len(set(PUBLIC_NAMES)) == len(PUBLIC_NAMES)
    for spec in FEATURES:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)
        assert not spec.name.endswith("_pct") and spec.meaning.endswith(".") and spec.owner and spec.window


def test_meaning_states_null_exactly_for_nullable_features():
    references = ("null like", "The same")
    for spec in FEATURES:
        states_null = "null" in spec.meaning or any(words in spec.meaning for words in references)
        assert spec.nullable == states_null, spec.name


def test_ttl_of_features_equals_the_ttl_of_the_row():
    assert {spec.ttl_s for spec in FEATURES} == {86_400}
