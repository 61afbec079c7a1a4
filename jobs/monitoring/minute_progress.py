"""The rate at which minutes close, and when a late run will have caught up.

The local platform's keeper records the newest closed minute every few seconds (:func:`record_sample`). Health
checks read the samples of the last minute, so that a command that runs once knows the rate too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

KEPT_MS = 60_000
"""Wall time over which the rate is measured, ms."""
MIN_SPAN_MS = 10_000
"""Wall time that the samples must span to give a rate, ms."""

RATE_TOLERANCE = 0.02
"""Relative difference below which a rate equals the clock's speed."""


class Sample(NamedTuple):
    """The end of the newest closed minute at a wall time, both epoch ms."""

    wall_ms: int
    closed_ms: int


def record_sample(path: Path, sample: Sample) -> None:
    """Append a sample to the file and drop those older than :data:`KEPT_MS`."""
    kept = [each for each in read_samples(path, sample.wall_ms) if each.wall_ms < sample.wall_ms]
    part = path.with_suffix(".part")
    part.write_text(json.dumps([*kept, sample]))
    part.rename(path)


def read_samples(path: Path, now_ms: int) -> list[Sample]:
    """Return the samples of the last minute, oldest first; empty if there is no file."""
    try:
        found = [Sample(*map(int, each)) for each in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []
    return [each for each in found if now_ms - KEPT_MS <= each.wall_ms <= now_ms]


def closing_rate(samples: Sequence[Sample]) -> float | None:
    """Return run seconds closed per wall second; None while the samples span less than :data:`MIN_SPAN_MS`.

    Samples before the first progress are left out if minutes have closed since: a restarted run is measured from
    its restart.

    >>> closing_rate([Sample(0, 0), Sample(20_000, 1_800_000)])
    90.0
    >>> closing_rate([Sample(0, 0), Sample(5_000, 600_000)]) is None
    True
    >>> closing_rate([Sample(0, 0), Sample(40_000, 0), Sample(60_000, 1_800_000)])
    90.0
    >>> closing_rate([Sample(0, 0), Sample(40_000, 0)])
    0.0
    """
    if samples and samples[-1].closed_ms > samples[0].closed_ms:
        standing = sum(sample.closed_ms == samples[0].closed_ms for sample in samples)
        samples = samples[standing - 1 :]
    if len(samples) < 2 or (span := samples[-1].wall_ms - samples[0].wall_ms) < MIN_SPAN_MS:
        return None
    return (samples[-1].closed_ms - samples[0].closed_ms) / span


def catch_up_text(late_ms: float, speed: float, samples: Sequence[Sample]) -> str:
    """Return when a run that is ``late_ms`` of run time late will have caught up; empty if the rate is unknown.

    Parameters
    ----------
    late_ms : run time by which the newest minute is late, ms.
    speed : run seconds per wall second.

    >>> catch_up_text(600_000, 60, [Sample(0, 0), Sample(20_000, 1_800_000)])
    'catching up, done in about 20 s'
    >>> catch_up_text(600_000, 60, [Sample(0, 0), Sample(20_000, 1_260_000)])
    'catching up, done in about 3 minutes'
    >>> catch_up_text(600_000, 60, [Sample(0, 0), Sample(20_000, 900_000)])
    'falling further behind, by 15.0 minutes of run time per minute'
    >>> catch_up_text(600_000, 60, [Sample(0, 0), Sample(20_000, 1_210_000)])
    'not catching up'
    >>> catch_up_text(600_000, 60, [])
    ''
    """
    rate = closing_rate(samples)
    if rate is None:
        return ""
    gain = rate - speed
    if abs(gain) < RATE_TOLERANCE * speed:
        return "not catching up"
    if gain < 0:
        return f"falling further behind, by {-gain:.1f} minutes of run time per minute"
    left_s = late_ms / 1000 / gain
    return f"catching up, done in about {f'{left_s:.0f} s' if left_s < 120 else f'{left_s / 60:.0f} minutes'}"
