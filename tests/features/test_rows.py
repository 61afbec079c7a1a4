"""Check suite of the feature groups."""

from __future__ import annotations

import ast
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import features.rows
from features.books.offers import ReferenceOffer
from features.books.stock import StockLevel
from features.registry import FEATURES
from features.rows import GROUPS, FeatureGroup, RowInputs
from features.settings import FeatureSettings
from features.windows import LocalTime
from schemas.events import CatalogEntry

FOLDER = Path(features.rows.__file__).parent
NO_GROUP = {"__init__", "base"}
"""Modules of the folder that define no group."""
DAY = 86_400_000
MEASURES = (
    "views", "exposures", "orders", "units", "revenue_minor", "searches_matured", "searches_abandoned",
    "carts_matured", "carts_abandoned", "exposures_myopic", "exposures_strategic",
)  # fmt: skip


def some_inputs(count: int, **known: Any) -> RowInputs:
    """Return the sums of a listing that is ten days old, with ``count`` of each measure."""
    sums = MappingProxyType(dict.fromkeys(MEASURES, count))
    unknown: dict[str, Any] = {
        "price_minor": None, "changed_ms": None, "reference": None, "stock": None, "estimates": {},
        "seasonality": None, "mean_quoted": {"myopic": None, "strategic": None},
    }  # fmt: skip
    return RowInputs(
        at_ms=20 * DAY, first_ms=10 * DAY, local=LocalTime(738838, 1, 0, 0.0),
        entry=CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 600, 999),
        hour_1=sums, hours_24=sums, days_30=sums, complete_days=[float(count)] * 9, at_price=(count, count // 4),
        rival_sum_7d=1000.0 * count, rival_minutes_7d=float(count),
        market_requests={"myopic": count, "strategic": count}, **(unknown | known),
    )  # fmt: skip


INPUTS = {
    "without data": some_inputs(0),
    "with data": some_inputs(
        40,
        price_minor=1000,
        changed_ms=19 * DAY,
        reference=ReferenceOffer(950.0, 900, 1000, 2, 19 * DAY, True),
        stock=StockLevel(1, 40, 7, 4.0),
        estimates={"all": (19 * DAY, -2.0, 0.2, 9, "sufficient")},
        seasonality=1.1,
        mean_quoted={"myopic": 1000.0, "strategic": 900.0},
    ),
}


def groups_in(path: Path) -> list[str]:
    """Return the names of the subclasses of FeatureGroup that a file defines."""
    nodes = ast.walk(ast.parse(path.read_text()))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return [node.name for node in classes if "FeatureGroup" in map(ast.unparse, node.bases)]


def test_every_file_of_the_folder_defines_one_group_of_the_tuple() -> None:
    files = [path for path in FOLDER.glob("*.py") if path.stem not in NO_GROUP]
    listed = sorted((type(group).__module__.rpartition(".")[2], type(group).__name__) for group in GROUPS)
    assert sorted((path.stem, name) for path in files for name in groups_in(path)) == listed
    assert sorted(path.stem for path in files) == [stem for stem, _ in listed]


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: type(group).__name__)
def test_a_group_computes_exactly_the_features_of_its_specs(group: FeatureGroup, inputs: RowInputs) -> None:
    values = group.values(inputs, FeatureSettings())
    assert sorted(values) == sorted(spec.name for spec in group.specs)
    types = {"int": int, "float": float, "string": str}
    for spec in group.specs:
        value = values[spec.name]
        assert type(value) is types[spec.dtype] or (value is None and spec.nullable), spec.name
        assert spec.values is None or value in spec.values, spec.name


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: type(group).__name__)
def test_a_group_with_data_has_no_null(group: FeatureGroup) -> None:
    assert None not in group.values(INPUTS["with data"], FeatureSettings()).values()


def test_features_are_the_specs_of_the_groups_in_order() -> None:
    assert [spec for group in GROUPS for spec in group.specs] == list(FEATURES)
    assert [FEATURES[0].name, FEATURES[-1].name, len(FEATURES)] == ["views_1h", "currency", 49]
