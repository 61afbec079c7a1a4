"""Paths of the operator port with the permission that each needs, and requests to them."""

from __future__ import annotations

import re
from typing import Any

from starlette.testclient import TestClient

from jobs.access import Permission
from tests.jobs.access.access_builders import TENANT, keys

SKU = "acme/web-us-usd/sku-1"
ENDPOINTS = [
    ("GET", "/", Permission.READ, None),
    ("GET", "/v1/console/summary", Permission.READ, None),
    ("GET", "/v1/listings", Permission.READ, None),
    ("GET", "/v1/session", Permission.READ, None),
    ("GET", "/v1/openapi.json", Permission.READ, None),
    ("GET", "/v1/listings/{tenant}/{market}/{sku:path}/evidence", Permission.ANALYSE, TENANT),
    ("GET", "/v1/listings/{tenant}/{market}/{sku:path}/explain", Permission.ANALYSE, TENANT),
    ("POST", "/v1/commands", Permission.COMMAND, TENANT),
    ("GET", "/v1/keys", Permission.MANAGE_KEYS, None),
    ("POST", "/v1/keys", Permission.MANAGE_KEYS, TENANT),
    ("POST", "/v1/keys/{key_id}/revoke", Permission.MANAGE_KEYS, TENANT),
    ("POST", "/v1/keys/{key_id}/rotate", Permission.MANAGE_KEYS, TENANT),
    ("POST", "/sign-out", Permission.READ, None),
]
"""Method, path, permission and the tenant that must be visible."""
PUBLIC = {("GET", "/sign-in"): 200, ("POST", "/sign-in"): 401, ("GET", "/healthz"): 200}
"""Method and path of what answers without a key → the status of an empty request."""
BY_PROVIDER = {("GET", "/sign-in/provider"): 303, ("GET", "/sign-in/callback"): 400}
"""The same for paths that exist with a provider alone."""
BODIES: dict[str, Any] = {
    "/v1/commands": {"kind": "freeze", "tenant": TENANT, "market": "web-us-usd", "reason": "r"},
    "/v1/keys": {"author": "eve", "role": "reader", "tenant": TENANT},
}


def ask(port: TestClient, method: str, path: str, headers: dict[str, str]) -> Any:
    """Return the reply to a request for a path of the table, about tenant ``acme``."""
    body = BODIES.get(path) if method == "POST" else None
    filled = path.replace("{tenant}/{market}/{sku:path}", SKU).replace("{key_id}", keys["reader"].key_id)
    return port.request(method, filled, headers=headers, json=body)


def known_routes() -> set[tuple[str, str]]:
    """Return method and path of every route that the table covers, as the application writes it."""
    own = {(method, re.sub("/(revoke|rotate)$", "/{action}", path)) for method, path, *_ in ENDPOINTS}
    return own | set(PUBLIC)


def routes_of(app: Any) -> set[tuple[str, str]]:
    """Return method and path of every route of an application, those of its routers included."""
    found = set()
    for route in app.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if hasattr(route, "methods") and hasattr(route, "path"):
            found |= {(method, route.path) for method in route.methods - {"HEAD"}}
        elif inner:
            found |= routes_of(inner)
    return found
