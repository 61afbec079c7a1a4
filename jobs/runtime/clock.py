"""The Clock of a run: wall time, or simulated time with a start and a speed.

Every process of a run parses the same text (``WALRAS_CLOCK``), so that all of them agree on the time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Return the run's time as epoch milliseconds.

    Parameters
    ----------
    start_ms, wall_start_ms : run time and wall time at the same moment, epoch ms; both 0 for the wall clock.
    speed : seconds of the run per second of wall time, above 0.

    Examples
    --------
    >>> Clock.parse("sim:1000:0:60").at(wall_ms=10)
    1600
    >>> str(Clock.parse("wall")), str(Clock(5, 6, 2.5))
    ('wall', 'sim:5:6:2.5')
    """

    start_ms: int = 0
    wall_start_ms: int = 0
    speed: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Clock:
        """Parse ``wall`` or ``sim:<start ms>:<wall ms at start>:<speed>``.

        Raises
        ------
        ValueError
            If the text is neither.
        """
        if text == "wall":
            return cls()
        parts = text.split(":")
        if len(parts) != 4 or parts[0] != "sim":
            raise ValueError(f"clock: expected 'wall' or 'sim:<start ms>:<wall ms>:<speed>', got {text!r}")
        speed = float(parts[3])
        if not speed > 0:
            raise ValueError(f"clock: expected a speed above 0, got {parts[3]!r}")
        return cls(int(parts[1]), int(parts[2]), speed)

    @classmethod
    def simulated(cls, start_ms: int, speed: float) -> Clock:
        """Return a clock that shows ``start_ms`` now and runs ``speed`` times faster than wall time."""
        return cls(start_ms, round(time.time() * 1000), speed)

    def at(self, wall_ms: float) -> int:
        """Return the run's time at a wall time, both epoch ms."""
        return round(self.start_ms + (wall_ms - self.wall_start_ms) * self.speed)

    def now_ms(self) -> int:
        """Return the run's time now."""
        return self.at(time.time() * 1000)

    def wall_seconds_until(self, run_ms: int) -> float:
        """Return wall seconds until the clock shows ``run_ms``; negative if that time has passed."""
        return ((run_ms - self.start_ms) / self.speed + self.wall_start_ms) / 1000 - time.time()

    def __str__(self) -> str:
        if self == Clock():
            return "wall"
        return f"sim:{self.start_ms}:{self.wall_start_ms}:{self.speed:g}"
