"""Per-listing numbers by name: the state of the watcher's parts, able to grow, to be saved and to come back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from features.array_text import read_array
from jobs.pricing.watcher.minute import Floats

Layout = Mapping[str, tuple[int, float]]
"""Name → (rows, first value); one row is an array (listings,), more are (rows, listings)."""


class Columns:
    """Named float arrays with the listings along the last axis.

    Everything the watcher remembers is in such columns, so that one place grows, saves and
    restores all of it.

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
        # Made when asked for: what is to be restored at once never is.
        return {name: self._first(name, self.listings) for name in self.layout}

    def _first(self, name: str, listings: int) -> Floats:
        rows, value = self.layout[name]
        return np.full((listings,) if rows == 1 else (rows, listings), value)

    def __getitem__(self, name: str) -> Floats:
        return self._arrays[name]

    def __setitem__(self, name: str, values: Floats) -> None:
        self._arrays[name] = values

    def grow(self, count: int) -> None:
        """Add ``count`` listings at the end, with first values."""
        if count:
            for name, values in self._arrays.items():
                self._arrays[name] = np.concatenate([values, self._first(name, count)], axis=-1)
        self.listings += count

    def snapshot(self) -> dict[str, Floats]:
        """Copies of all columns by name."""
        return {name: values.copy() for name, values in self._arrays.items()}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Take columns back, from arrays or lists.

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
                    f"watcher snapshot: column {name!r} should have shape {shape}, got {values.shape}"
                )
            arrays[name] = values
        self._arrays = arrays
        self.listings = listings
