"""Every business number is a key of the policy, is used, and has one default."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from features.books.offers import RivalSettings
from features.books.sale_probability import DemandSettings
from features.elasticity.drift import DriftSettings
from features.elasticity.settings import ElasticitySettings
from features.segments.customers import SegmentSettings
from features.settings import FeatureSettings
from jobs.pricing.policy import Policy, member_sections
from jobs.pricing.policy_section import PolicySection
from jobs.pricing.policy_settings import (
    demand_settings,
    drift_settings,
    elasticity_settings,
    feature_settings,
    rival_settings,
    segment_settings,
    watcher_settings,
)
from jobs.pricing.watcher.settings import WatcherSettings

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "infra" / "config" / "policy.yaml"
READERS = ("jobs", "features", "infra")
"""Packages that read the policy."""
SETTINGS = {
    RivalSettings: rival_settings,
    DemandSettings: demand_settings,
    ElasticitySettings: elasticity_settings,
    DriftSettings: drift_settings,
    FeatureSettings: feature_settings,
    SegmentSettings: segment_settings,
    WatcherSettings: watcher_settings,
}
"""Settings class → function that makes it from the policy."""
POLICY_FILES = {
    ROOT / "jobs" / "pricing" / f"policy{part}.py"
    for part in ("", "_fallback", "_features", "_learning", "_limits", "_prices", "_watch")
}
"""Files that declare the sections."""
READ_BY_SECTION = {
    ("strategies", "by_role"),
    ("strategies", "allowed_by_role"),
    *(("roles", name) for name in ("kvi", "traffic", "margin", "long_tail")),
}
"""Keys that only a method of their section in policy.py reads (``of_role``, ``follow_ratio``)."""


def leaves(content: dict[str, Any], inside: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every number, text or list; an empty mapping is a leaf.

    >>> list(leaves({"a": 1, "b": {"c": 2, "d": {}}}))
    [('a',), ('b', 'c'), ('b', 'd')]
    """
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*inside, name))
        else:
            yield (*inside, name)


def sections() -> dict[str, type[PolicySection]]:
    policy = Policy()
    own = {name: type(getattr(policy, name)) for name in Policy.model_fields if name != "name"}
    return own | {section.key: section for section in member_sections()}


def attributes_read() -> set[str]:
    """Return the names of all attributes that the packages read outside policy.py."""
    paths = (path for package in READERS for path in (ROOT / package).rglob("*.py"))
    trees = (ast.parse(path.read_text()) for path in paths if path not in POLICY_FILES)
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def test_every_key_of_the_policy_is_read() -> None:
    read = attributes_read()
    keys = set(leaves(Policy().to_dict())) - READ_BY_SECTION
    assert sorted(".".join(key) for key in keys if key[-1] not in read) == []


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_settings_of_the_default_policy_are_the_defaults_of_the_class(kind: type) -> None:
    assert SETTINGS[kind](Policy()) == kind()


def test_every_settings_class_of_features_is_made_from_the_policy() -> None:
    texts = [path.read_text() for path in (ROOT / "features").rglob("*.py")]
    found = {name for text in texts for name in re.findall(r"^class (\w+Settings)\b", text, re.MULTILINE)}
    assert found - {kind.__name__ for kind in SETTINGS} == set()


def test_the_shipped_policy_has_every_key_with_its_default() -> None:
    assert yaml.safe_load(SHIPPED.read_text()) == Policy().to_dict()


def test_every_key_of_the_shipped_policy_has_a_comment() -> None:
    lines = [line for line in SHIPPED.read_text().splitlines() if not line.startswith("#")]
    keys = [line for line in lines if not re.fullmatch(r"\w+:", line)]
    assert [line for line in keys if not re.search(r" # \S", line)] == []


def test_every_key_has_a_description() -> None:
    assert [
        f"{name}.{key}"
        for name, section in sections().items()
        for key, field in section.model_fields.items()
        if not field.description
    ] == []


def changed(value: Any) -> Any:
    """Return another valid value of a number of the policy, slightly larger."""
    return value + 1 if isinstance(value, int) else value * 1.01


@pytest.mark.parametrize(
    ("section", "kind"),
    [("segments", SegmentSettings), ("demand", DemandSettings), ("features", FeatureSettings)],
)
def test_every_number_of_a_learning_section_changes_its_settings(section: str, kind: type) -> None:
    unused = {("segments", key) for key in ("share_weight", "uniform")}
    for key, value in Policy().to_dict()[section].items():
        if not isinstance(value, (int, float)) or (section, key) in unused:
            continue
        policy = Policy().overridden({section: {key: changed(value)}})
        assert SETTINGS[kind](policy) != kind(), key
