"""Samples of a process: its memory, its processor time, and how long it waited for a processor."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

SAMPLE_S = 0.2
AUTOGROUP = Path("/proc/self/autogroup")


class Sample(NamedTuple):
    """Monotonic seconds, MB of memory, seconds on a processor, and seconds that the main thread waited for one."""

    at_s: float
    megabytes: float
    processor_s: float
    waited_s: float


def main_thread_waited_s(process_id: int) -> float:
    """Return how long the main thread, which runs the event loop, was ready and had no processor, in seconds.

    0 where the system does not report it.
    """
    try:
        return int(Path(f"/proc/{process_id}/task/{process_id}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def autogroup_nice() -> int:
    """Return the priority of this session among those of the machine (autogroup): 0 by default."""
    try:
        return int(AUTOGROUP.read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


class ProcessSampler:
    """Samples a process on a thread until the block ends.

    Attributes
    ----------
    samples : in the order of time.
    """

    def __init__(self, process_id: int) -> None:
        self._process, self._stop = psutil.Process(process_id), threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-sampler", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> ProcessSampler:
        """Take the first sample and start the thread."""
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    @property
    def still_runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.is_running()

    def memory(self, began_s: float) -> dict[str, float]:
        """Return the memory in MB at a time, at the peak since then and at the end."""
        before = [sample.megabytes for sample in self.samples if sample.at_s <= began_s]
        after = [sample.megabytes for sample in self.samples if sample.at_s > began_s]
        return {"before_mb": before[-1], "peak_mb": max(after), "after_mb": after[-1]}

    def shares(self, began_s: float, ended_s: float) -> dict[str, Any]:
        """Return processor time, and waiting for a processor, as shares of the time between two samples."""
        inside = [sample for sample in self.samples if began_s <= sample.at_s <= ended_s]
        if len(inside) < 2:
            return {}
        first, last = inside[0], inside[-1]
        seconds = last.at_s - first.at_s
        return {
            "edge_processor_share": round((last.processor_s - first.processor_s) / seconds, 3),
            "edge_waited_for_processor_share": round((last.waited_s - first.waited_s) / seconds, 3),
        }

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            try:
                self._sample()
            except psutil.NoSuchProcess:
                return

    def _sample(self) -> None:
        with self._process.oneshot():
            times = self._process.cpu_times()
            megabytes = round(self._process.memory_info().rss / 2**20, 1)
        waited_s = main_thread_waited_s(self._process.pid)
        self.samples.append(Sample(time.monotonic(), megabytes, times.user + times.system, waited_s))
