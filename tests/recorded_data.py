"""Selection of the tests that run on recorded data sets.

A test marked ``recorded("<data set>")`` needs that folder below ``WALRAS_DATA`` (default: ``../shared/data``
beside the clone). If the folder is missing, the test is deselected, and a line of pytest's summary reports it. The
same code is tested without recorded data on the files of :mod:`tests.generated_data`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from infra.reports.recorded_data import data_folder


@dataclass(frozen=True)
class Recorded:
    """Number of tests that run on recorded data, and of those that were deselected, with the missing data sets."""

    run: int = 0
    left_out: int = 0
    missing: tuple[str, ...] = ()

    def summary(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return one line for pytest's summary.

        >>> Recorded(run=3).summary({"WALRAS_DATA": "/data"})
        'recorded data: 3 tests added, on the data sets below /data (WALRAS_DATA)'
        >>> Recorded(left_out=2, missing=("oj", "olist")).summary({"WALRAS_DATA": "/data"})
        'recorded data: no tests added, 2 left out: no oj, olist below /data (WALRAS_DATA)'
        """
        source = "WALRAS_DATA" if environment.get("WALRAS_DATA") else "the default, as WALRAS_DATA is not set"
        where = f"below {data_folder(environment)} ({source})"
        left_out = f", {self.left_out} left out: no {', '.join(self.missing)}" if self.left_out else ""
        added = f"{self.run or 'no'} tests added"
        return (
            f"recorded data: {added}{left_out} {where}"
            if left_out
            else f"recorded data: {added}, on the data sets {where}"
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain values, which pytest-xdist can transfer from a worker."""
        return asdict(self)


def deselect_missing(config: pytest.Config, items: list[pytest.Item], folder: Path) -> Recorded:
    """Deselect the tests whose data set is not below ``folder``."""
    run, left_out, missing = [], [], set()
    for item in items:
        marker = item.get_closest_marker("recorded")
        if marker is None:
            continue
        absent = {name for name in marker.args if not (folder / name).is_dir()}
        missing |= absent
        (left_out if absent else run).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    return Recorded(len(run), len(left_out), tuple(sorted(missing)))
