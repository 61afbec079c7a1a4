"""Run a command so that nothing it started outlives it: ``python leash.py command …``.

Flink's task manager starts Python workers of its own. Killed hard, it leaves them behind: they hold
memory and may go on writing. The leash runs the command in a process group of its own, passes signals
on, and when the command ends, however it ends, ends the whole group, then itself with the same code.
Should the leash be killed, the kernel kills the command.

Imports the standard library alone: it lives as long as the cluster and should weigh nothing.
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
    """In the child before it becomes the command: a group of its own, and death with the leash."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command; answers its exit code, 128 + signal when a signal ended it."""
    child = subprocess.Popen(command, preexec_fn=_die_with_parent)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    code = child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
