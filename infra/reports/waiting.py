"""Wait for a condition of a running platform."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException


def until(what: str, check: Callable[[], Any], timeout_s: float = 150.0) -> Any:
    """Call ``check`` until it returns something true, and return that.

    Errors of a part that does not respond yet are treated as false.

    Raises
    ------
    TimeoutError
        Naming ``what``, after ``timeout_s``.

    Examples
    --------
    >>> until("a number", lambda: 42)
    42
    """
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while True:
        with contextlib.suppress(OSError, KafkaException, KeyError):
            if found := check():
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        pause.wait(0.5)
