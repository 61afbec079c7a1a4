"""What a replay makes of rows: records, refused rows, a source's balance, and the times of its ticks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from features.cells.query import expected
from jobs.replay.mapping import STREAMS
from schemas.time_units import MINUTE_MS

NO_PRIMARY, ONCE_PER, NO_REPEAT = "NO_PRIMARY_ENTRY", "DROPPED_BY_ONCE_PER", "REPEATED_ZERO_TIMES"


class MappedRecord(NamedTuple):
    """A record made from a row, ready to send."""

    event_time_ms: int
    stream: str
    key: str
    value: bytes


class Refused(NamedTuple):
    """A row, or a record made from it, that breaks a limit: where, which limit, and the value."""

    file: str
    row: int
    stream: str
    field: str
    code: str
    expected: str
    got: str

    def __str__(self) -> str:
        field = f"{self.stream}.{self.field}" if self.stream else "row"
        return f"row {self.row} of {self.file}: {field}: expected {self.expected}; got {self.got} ({self.code})"


class Balance(NamedTuple):
    """Counts of a source's rows: ``rows == primary + refused + dropped`` if every row is accounted for.

    ``dropped``: rows dropped by ``once_per`` of a primary entry; ``derived``: records of entries that are not
    primary.
    """

    source: str
    rows: int
    primary: int
    refused: int
    dropped: int
    derived: int

    @property
    def balances(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows == self.primary + self.refused + self.dropped

    def __str__(self) -> str:
        dropped = f" + {self.dropped} dropped by once_per" if self.dropped else ""
        verdict = "balances" if self.balances else "DOES NOT BALANCE"
        return (
            f"{self.source}: {self.rows} rows = {self.primary} records + {self.refused} refused{dropped} "
            f"(+ {self.derived} derived records): {verdict}"
        )


def tick_times(first_ms: int, last_ms: int, tick_minutes: int) -> Iterator[int]:
    """Yield the times of a replay's ticks: every period between the records, and two after the last record.

    The first of these two is in the minute after the last record; the second, an hour later, moves the watermark
    past that minute whatever the lateness.

    >>> list(tick_times(90_000, 90_000, 1)), list(tick_times(90_000, 130_000, 1))
    ([120000, 3780000], [120000, 180000, 3840000])
    """
    period = tick_minutes * MINUTE_MS
    yield from range((first_ms // period + 1) * period, last_ms + 1, period)
    closing = (last_ms // MINUTE_MS + 1) * MINUTE_MS
    yield closing
    yield closing + 61 * MINUTE_MS


_EXPECTED = {
    NO_PRIMARY: "a row that matches the `where` of a primary entry",
    ONCE_PER: "the first row with its value of `once_per`",
    NO_REPEAT: "a `repeat` of at least 1 in a primary entry",
}


def limit_of(stream: str, field: str, code: str) -> str:
    """Return the limit that a refused row breaks, in words."""
    if code in _EXPECTED:
        return _EXPECTED[code]
    return next(expected(check) for check in STREAMS[stream].checks if check.field == field)
