"""Programs that measure what Walras does and how fast, and produce reports; none of them is a test.

``python -m infra.reports`` lists them.
"""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Folder of the committed reports."""
