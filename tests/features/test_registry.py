"""FEATURES says what is there, and what is there is in FEATURES."""

from __future__ import annotations

import re

from features.registry import FEATURES, PUBLIC_NAMES, SOURCE_001


def test_the_ten_names_of_source_001_are_public():
    assert len(SOURCE_001) == 10 and set(SOURCE_001) <= set(PUBLIC_NAMES)


def test_names_are_unique_and_in_house_style():
    names = [spec.name for spec in FEATURES]
    assert len(set(names)) == len(names) and len(set(PUBLIC_NAMES)) == len(PUBLIC_NAMES)
    for spec in FEATURES:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)
        assert not spec.name.endswith("_pct") and spec.meaning.endswith(".") and spec.owner and spec.window


def test_what_may_be_missing_says_when_and_what_may_not_never_does():
    told_elsewhere = ("null like", "The same")
    for spec in FEATURES:
        says = "null" in spec.meaning or any(words in spec.meaning for words in told_elsewhere)
        assert spec.nullable == says, spec.name


def test_no_feature_outlives_the_row_it_is_written_in():
    assert {spec.ttl_s for spec in FEATURES} == {86_400}
