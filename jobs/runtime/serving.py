"""Serving of the quote port and the operator port by uvicorn."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import uvicorn

from jobs.runtime.bounded_heads import BoundedHeads
from jobs.runtime.settings import Settings

SERVER: dict[str, Any] = {
    "loop": "uvloop",
    "http": BoundedHeads,
    "ws": "none",
    "access_log": False,
    "proxy_headers": False,
    "log_level": "warning",
    "timeout_graceful_shutdown": 5,
    # Longer than proxies and clients keep idle connections: if the server closed one first, a request that was
    # just sent on it would fail.
    "timeout_keep_alive": 75,
    "server_header": False,
    "date_header": False,
}
"""Options of uvicorn for both ports, and in the benchmark's server."""


def proxy_options(proxies: str | None) -> dict[str, Any]:
    """Return uvicorn's options for the proxies whose ``X-Forwarded-For`` names the caller; they replace SERVER's.

    >>> proxy_options("10.0.0.0/8"), proxy_options(None)
    ({'proxy_headers': True, 'forwarded_allow_ips': '10.0.0.0/8'}, {})
    """
    return {} if proxies is None else {"proxy_headers": True, "forwarded_allow_ips": proxies}


def tls_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for the certificate that the settings name; empty without one."""
    if settings.tls_certificate is None:
        return {}
    return {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}


def serve(app: Any, host: str, port: int, settings: Settings, proxies: str | None = None) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM, then finish its replies and run its shutdown.

    The process then ends with exit code 0. uvicorn raises SIGTERM again after its shutdown, which would end the
    process by the signal.

    Parameters
    ----------
    proxies : addresses or networks of proxies, with commas between them, whose ``X-Forwarded-For`` is believed.
    """
    signal.signal(signal.SIGTERM, _exit)
    uvicorn.run(app, host=host, port=port, **SERVER | tls_options(settings) | proxy_options(proxies))


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
