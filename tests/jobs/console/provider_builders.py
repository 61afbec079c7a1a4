"""A console whose people sign in at a local provider: settings, users, clock, and the steps of a sign-in."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr
from starlette.testclient import TestClient

from jobs.access import Role
from jobs.connectors.kafka.access_keys import wall_ms
from tests.jobs.access.access_builders import OTHER, TENANT
from tests.jobs.console.local_provider import LocalProvider

SITE = "https://prices.example.org"
READERS = (Role.READER, Role.ANALYST, Role.PRICING_MANAGER, Role.ADMIN)
PEOPLE = {f"{role}-{tenant}": (role, tenant) for role in READERS for tenant in (TENANT, OTHER, "*")}
"""Users of the provider, each in the group of their own name → role and tenant."""
ROLES = "; ".join(f"{name}={role}@{tenant}" for name, (role, tenant) in PEOPLE.items())
MANAGER = f"pricing_manager-{TENANT}"
SECRET = "client-secret-of-the-console"


class Wall:
    """A wall clock that a test sets; it starts at the machine's time, by which the provider issues tokens."""

    def __init__(self) -> None:
        self.past_ms = 0

    def __call__(self) -> int:
        return self._real() + self.past_ms

    _real = staticmethod(wall_ms)


def options(provider: LocalProvider, **changed: Any) -> dict[str, Any]:
    return {
        "console_url": SITE, "oidc_issuer": provider.issuer, "oidc_client_id": "walras", "oidc_roles": ROLES,
        "oidc_client_secret": SecretStr(SECRET), "oidc_name": "Acme <login>",
    } | changed  # fmt: skip


def begin(console: TestClient) -> str:
    """Return the provider's page to which the console sends the browser."""
    reply = console.get("/sign-in/provider")
    assert reply.status_code == 303, reply.text
    return reply.headers["location"]


def sign_in(console: TestClient, provider: LocalProvider, sub: str) -> Any:
    return console.get(provider.answer(begin(console), sub))


def is_signed_in(console: TestClient) -> bool:
    return console.get("/v1/session").status_code == 200
