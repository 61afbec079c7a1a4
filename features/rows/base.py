"""FeatureGroup, FeatureSpec and RowInputs: definition, computation and inputs of a group of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from features.books.offers import ReferenceOffer
from features.books.stock import StockLevel
from features.settings import FeatureSettings
from features.windows import LocalTime
from schemas.events import CatalogEntry

DType = Literal["int", "float", "string"]
ROW_TTL_S = 86_400
"""A listing's row is rewritten every few minutes while the job runs; a row older than a day is stale."""

LAST_HOUR, LAST_DAY = "the last 60 minutes", "the current hour and the 23 before"
LAST_WEEK = "28 six-hour slots, the current one included"
LAST_MONTH = "the market's current day and the 29 before"
NOW = "now"
"""Windows, as text of :attr:`FeatureSpec.window`."""
STATES = ("sufficient", "provisional", "prior", "not_identified")
"""Values of a feature that states whether the data suffice."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Definition of a feature.

    Parameters
    ----------
    name : internal name, ``<measure>_<window>``.
    dtype : int (64 bits), float (64 bits) or string.
    window : time range of the feature, as text for users of the data.
    meaning : one sentence with the unit and the condition for null.
    owner : area of responsibility.
    alias : public name from source document 001, if there is one.
    low, high : inclusive range for the data checks.
    nullable : whether null is allowed.
    grain : entity of the feature.
    ttl_s : age in seconds after which Feast treats a value as missing.
    values : allowed strings.
    """

    name: str
    dtype: DType
    window: str
    meaning: str
    owner: str
    alias: str | None = None
    low: float | None = None
    high: float | None = None
    nullable: bool = True
    grain: str = "listing"
    ttl_s: int = ROW_TTL_S
    values: tuple[str, ...] | None = None

    @property
    def public(self) -> str:
        """Return the name in rows, Feast and Parquet."""
        return self.alias or self.name


@dataclass(frozen=True, slots=True)
class RowInputs:
    """Sums of a listing at the end of a minute.

    ``hour_1``, ``hours_24`` and ``days_30`` are counts by measure. ``complete_days`` are units per complete day,
    oldest first. ``at_price`` are exposures and orders at the current price. ``estimates`` are by segment, as
    (window_end_ms, mean, sd, n, state). ``market_requests`` are price requests by segment over the bucket's
    listings of the market.
    """

    at_ms: int
    first_ms: int
    local: LocalTime
    entry: CatalogEntry
    hour_1: Mapping[str, int]
    hours_24: Mapping[str, int]
    days_30: Mapping[str, int]
    complete_days: list[float]
    price_minor: int | None
    changed_ms: int | None
    at_price: tuple[int, int]
    reference: ReferenceOffer | None
    rival_sum_7d: float
    rival_minutes_7d: float
    stock: StockLevel | None
    estimates: Mapping[str, tuple[Any, ...]]
    seasonality: float | None
    market_requests: Mapping[str, int]
    mean_quoted: Mapping[str, float | None]


class FeatureGroup(ABC):
    """Features that are computed together from the same inputs.

    To add features, write a file in this folder with a subclass that defines

    - ``specs``: the features in the order of the row, each with type, window, meaning, owner and range;
    - :meth:`values`: the values under the internal names, exactly one per spec.

    Then add an instance to :data:`features.rows.GROUPS` and run ``make schemas``. A group keeps no state. If a
    feature needs another sum, add a field to :class:`RowInputs`, which :mod:`features.feature_logic` fills. A
    number that a shop may change is a field of :class:`features.settings.FeatureSettings` and a key of the
    policy's section ``features``.

    Missing values: a count without events is 0; a rate, price or estimate without data is None and never a
    default. The meaning of the spec states when a feature is null.

    Examples
    --------
    >>> class ListPrice(FeatureGroup):
    ...     specs = (FeatureSpec("list_price_minor", "int", NOW, "List price; null without one.", "catalog"),)
    ...     def values(self, inputs, settings):
    ...         return {"list_price_minor": inputs.entry.list_minor}
    >>> [spec.public for spec in ListPrice.specs]
    ['list_price_minor']
    """

    specs: ClassVar[tuple[FeatureSpec, ...]]
    """The group's features, in the order of the row."""

    @abstractmethod
    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the value of each feature of ``specs`` by internal name.

        Parameters
        ----------
        inputs : the listing's sums.
        settings : parameters of the feature computation.
        """


def count(name: str, window: str, meaning: str, **more: object) -> FeatureSpec:
    """Return the spec of a count of demand events; it is never null."""
    return FeatureSpec(name, "int", window, meaning, "demand", nullable=False, **more)  # type: ignore[arg-type]


def rate(part: int, whole: int) -> float | None:
    """Return a share of at least 0, or None if ``whole`` is 0.

    ``part`` can be negative: in a quiet hour, cancellations and returns may exceed orders.

    Examples
    --------
    >>> rate(1, 4), rate(-1, 4), rate(1, 0)
    (0.25, 0.0, None)
    """
    return max(part, 0) / whole if whole > 0 else None
