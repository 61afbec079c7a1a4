"""Options with which uvicorn serves the quote port and the operator port."""

from __future__ import annotations

from typing import Any

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


def proxy_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for the proxies whose ``X-Forwarded-For`` names the caller; they replace SERVER's.

    >>> proxy_options(Settings(edge_proxies="10.0.0.0/8")), proxy_options(Settings())
    ({'proxy_headers': True, 'forwarded_allow_ips': '10.0.0.0/8'}, {})
    """
    if settings.edge_proxies is None:
        return {}
    return {"proxy_headers": True, "forwarded_allow_ips": settings.edge_proxies}


def tls_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for the certificate that the settings name; empty without one."""
    if settings.tls_certificate is None:
        return {}
    return {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
