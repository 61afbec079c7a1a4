"""Programs that produce reports: what Walras does and how fast, measured; none of them is a test."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Folder of the committed reports."""
