"""State of a category's pooling: the newest statistics and the last published estimate of each listing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from features.elasticity.base import SeriesStatistics
from schemas.listings import Listing


class Published(NamedTuple):
    """What readers of an estimate have: rounded mean and sd, state, time of the last confirmed change, warning."""

    mean: float
    sd: float
    state: str
    changed_ms: int
    warning: str = ""


class ListingState:
    """Newest statistics of a listing by model, its last confirmed change, and its last published estimate."""

    __slots__ = (
        "changed_ms",
        "changed_variance",
        "end_ms",
        "group",
        "offer_centre",
        "published",
        "statistics",
        "unexposed",
    )

    def __init__(
        self,
        end_ms: int,
        group: str,
        offer_centre: float | None,
        statistics: Mapping[str, list[Any]],
        published: Published | None = None,
        changed_ms: int = 0,
        changed_variance: float = 0.0,
        unexposed: bool = False,
    ) -> None:
        self.end_ms = end_ms
        self.group = group
        self.offer_centre = offer_centre
        self.statistics = statistics
        self.published = published
        self.changed_ms = changed_ms
        self.changed_variance = changed_variance
        self.unexposed = unexposed

    def to_row(self) -> list[Any]:
        """Return the state as a row of the snapshot."""
        published = None if self.published is None else list(self.published)
        row = [self.end_ms, self.group, self.offer_centre, published, self.statistics]
        return [*row, self.changed_ms, self.changed_variance, self.unexposed]


class CategoryArrays:
    """Statistics of the category's listings as arrays in sorted order, kept between messages."""

    def __init__(self, held: Mapping[str, ListingState], models: Sequence[str]) -> None:
        self.keys = sorted(held)
        self.row = {key: at for at, key in enumerate(self.keys)}
        self.listings = [Listing.parse(key) for key in self.keys]
        self.skus = sorted({listing.sku for listing in self.listings})
        place = {sku: at for at, sku in enumerate(self.skus)}
        self.product = np.array([place[listing.sku] for listing in self.listings], np.int64)
        self.place = place
        self.statistics = {}
        for name in models:
            width = max(
                (len(held[key].statistics[name][1]) for key in self.keys if name in held[key].statistics),
                default=0,
            )
            if width:
                columns = zip(
                    *(held[key].statistics.get(name) or _nothing(width) for key in self.keys), strict=True
                )
                self.statistics[name] = SeriesStatistics(*(np.array(column, np.float64) for column in columns))
        self.ends = np.array([held[key].end_ms for key in self.keys], np.int64)

    def update(self, key: str, held: ListingState) -> None:
        """Replace the statistics in one listing's row."""
        at = self.row[key]
        for name, columns in self.statistics.items():
            for column, value in zip(columns, held.statistics[name], strict=True):
                column[at] = value
        self.ends[at] = held.end_ms


def _nothing(width: int) -> list[Any]:
    """Return the statistics of a listing that a model has not learned."""
    return [np.zeros((width, width)).tolist(), [0.0] * width, *([0.0] * 7)]
