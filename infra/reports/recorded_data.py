"""Where the recorded data sets lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data"


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the recorded data sets: ``WALRAS_DATA``, else beside the clone. It need not exist."""
    return Path(environment["WALRAS_DATA"]) if environment.get("WALRAS_DATA") else DEFAULT
