"""Resident memory of a process, sampled while something happens to it."""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil

SAMPLE_S = 0.2


class MemorySampler:
    """Samples the resident memory of a process on a thread until the block ends.

    Attributes
    ----------
    samples : monotonic seconds and megabytes, in order.
    """

    def __init__(self, process_id: int) -> None:
        self._process, self._stop = psutil.Process(process_id), threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.samples: list[tuple[float, float]] = []

    def __enter__(self) -> MemorySampler:
        """Take the first sample and start the thread."""
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def summary(self, began_s: float) -> dict[str, Any]:
        """Return the memory in MB at a time, at the peak since then and at the end."""
        before = [megabytes for at_s, megabytes in self.samples if at_s <= began_s]
        after = [megabytes for at_s, megabytes in self.samples if at_s > began_s]
        return {"before_mb": before[-1], "peak_mb": max(after), "after_mb": after[-1]}

    @property
    def still_runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.is_running()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            try:
                self._sample()
            except psutil.NoSuchProcess:
                return

    def _sample(self) -> None:
        self.samples.append((time.monotonic(), round(self._process.memory_info().rss / 2**20, 1)))
