"""Run a command in a process group that ends with it: ``python process_group.py command …``.

Flink's task manager starts Python workers. When it is killed with SIGKILL, they keep running, hold memory and may
still write. This wrapper runs the command in a process group of its own and forwards signals to it. When the
command ends for whatever reason, the wrapper kills the whole group and exits with the same code. If the wrapper is
killed, the kernel kills the command.

It imports the standard library alone, since one instance runs per task manager and must need little memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Create a process group in the child before ``exec``, and request SIGKILL at the wrapper's death."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command and return its exit code, 128 + signal when a signal ended it."""
    child = subprocess.Popen(command, preexec_fn=_die_with_parent)

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    code = child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
