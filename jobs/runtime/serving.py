"""Serving of the quote port and the operator port by uvicorn."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import uvicorn

from jobs.runtime.settings import Settings

SERVER: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "access_log": False,
    "proxy_headers": False,
    "log_level": "warning",
    "timeout_graceful_shutdown": 5,
    # Longer than proxies and clients keep idle connections: if the server closed one first, a request that was
    # just sent on it would fail.
    "timeout_keep_alive": 75,
    "server_header": False,
    "date_header": False,
    "h11_max_incomplete_event_size": 16_384,
}
"""Options of uvicorn for both ports, and in the benchmark's server."""


def tls_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for the certificate that the settings name; empty without one."""
    if settings.tls_certificate is None:
        return {}
    return {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}


def serve(app: Any, host: str, port: int, settings: Settings) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM, then finish its replies and run its shutdown.

    The process then ends with exit code 0. uvicorn raises SIGTERM again after its shutdown, which would end the
    process by the signal.
    """
    signal.signal(signal.SIGTERM, _exit)
    uvicorn.run(app, host=host, port=port, **SERVER, **tls_options(settings))


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
