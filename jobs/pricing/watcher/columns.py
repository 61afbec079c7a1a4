"""Named arrays with one value or column per listing: the state of the watcher's components."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from features.array_text import read_array
from jobs.pricing.watcher.minute import Floats

Layout = Mapping[str, tuple[int, float]]
"""Name → (rows, initial value). One row is an array of shape (listings,), more are (rows, listings)."""


class Columns:
    """Named float arrays with the listings along the last axis.

    The watcher keeps its whole per-listing state in columns, so that one class grows, saves and restores it.

    Parameters
    ----------
    layout
        Names, rows and initial values.
    listings
        Initial number of listings.

    Examples
    --------
    >>> columns = Columns({"level": (1, 0.5), "profile": (2, 0.0)}, listings=1)
    >>> columns.grow(1)
    >>> columns["level"].tolist(), columns["profile"].shape
    ([0.5, 0.5], (2, 2))
    """

    def __init__(self, layout: Layout, listings: int) -> None:
        self.layout = dict(layout)
        self.listings = listings

    @cached_property
    def _arrays(self) -> dict[str, Floats]:
        # Allocated on first access: a watcher that is restored immediately never needs the initial arrays.
        return {name: self._initial(name, self.listings) for name in self.layout}

    def _initial(self, name: str, listings: int) -> Floats:
        rows, value = self.layout[name]
        return np.full((listings,) if rows == 1 else (rows, listings), value)

    def __getitem__(self, name: str) -> Floats:
        """Return a column; the caller may change it in place."""
        return self._arrays[name]

    def __setitem__(self, name: str, values: Floats) -> None:
        """Replace a column."""
        self._arrays[name] = values

    def grow(self, count: int) -> None:
        """Append ``count`` listings with initial values."""
        if count:
            for name, values in self._arrays.items():
                self._arrays[name] = np.concatenate([values, self._initial(name, count)], axis=-1)
        self.listings += count

    def snapshot(self) -> dict[str, Floats]:
        """Return copies of all columns by name."""
        return {name: values.copy() for name, values in self._arrays.items()}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Replace all columns by saved ones, given as arrays or lists.

        Raises
        ------
        ValueError
            If a column is missing or has another shape.
        """
        arrays = {}
        for name, (rows, _) in self.layout.items():
            shape = (listings,) if rows == 1 else (rows, listings)
            if name not in saved:
                raise ValueError(f"watcher snapshot: column {name!r} is missing")
            values = read_array(saved[name], float)
            if values.size == 0 and listings == 0:
                values = values.reshape(shape)
            if values.shape != shape:
                raise ValueError(
                    f"watcher snapshot: expected shape {shape} for column {name!r}, got {values.shape}"
                )
            arrays[name] = values
        self._arrays = arrays
        self.listings = listings
