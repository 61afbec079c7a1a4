"""The one error that the platform's commands show without a traceback."""

from __future__ import annotations


class PlatformError(RuntimeError):
    """Something that a person can put right; the text says what was expected, what came, what to do."""
