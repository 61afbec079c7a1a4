"""The folder of the recorded data sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data"


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the recorded data sets, which need not exist.

    It is ``WALRAS_DATA``, by default ``../shared/data`` beside the clone.
    """
    return Path(environment["WALRAS_DATA"]) if environment.get("WALRAS_DATA") else DEFAULT
