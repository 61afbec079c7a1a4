"""Texts of event times."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(epoch_ms: int | None) -> str:
    """Return an event time to the minute.

    >>> time_text(0)
    '1970-01-01 00:00 UTC'
    """
    if epoch_ms is None:
        return "later"
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
