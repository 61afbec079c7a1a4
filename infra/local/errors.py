"""The error that the platform's commands print without a traceback."""

from __future__ import annotations


class PlatformError(RuntimeError):
    """An error that the user can correct; its text states what was expected, what was found and what to do."""
