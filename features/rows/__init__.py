"""Groups of features: each file defines features and computes their values (:data:`GROUPS`).

To add a feature, write a file in this folder with a subclass of :class:`FeatureGroup`, whose docstring is the
recipe, and add an instance to the end of :data:`GROUPS`. A feature of an existing group needs only its spec and
its value in the group's file. Then run ``make schemas``. The order of the groups, and of the specs within a group,
is the order of the columns of rows, Feast and Parquet.

The check suite (tests/features/test_rows.py) runs over the tuple. It fails for a group that is missing from the
tuple and for a group whose values and specs differ.
"""

from __future__ import annotations

from features.rows.base import ROW_TTL_S, FeatureGroup, FeatureSpec, RowInputs
from features.rows.catalog import CatalogFeatures
from features.rows.demand import DemandFeatures
from features.rows.elasticity import ElasticityFeatures
from features.rows.price import PriceFeatures
from features.rows.rivals import RivalFeatures
from features.rows.seasonality import SeasonalityFeatures
from features.rows.segments import SegmentFeatures
from features.rows.stock import StockFeatures

GROUPS: tuple[FeatureGroup, ...] = (
    DemandFeatures(),
    PriceFeatures(),
    RivalFeatures(),
    ElasticityFeatures(),
    StockFeatures(),
    SeasonalityFeatures(),
    SegmentFeatures(),
    CatalogFeatures(),
)
"""All groups, in the order of the row."""

__all__ = ["GROUPS", "ROW_TTL_S", "FeatureGroup", "FeatureSpec", "RowInputs"]
