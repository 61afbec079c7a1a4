"""Keys of every role in two tenants, with their texts."""

from __future__ import annotations

from dataclasses import replace

from jobs.access import EVERY_TENANT, KeyKind, Role, issue_key
from schemas.records.operator_events import AccessKey

LATER_MS = 1 << 52
TENANT, OTHER = "acme", "acme2"
keys: dict[str, AccessKey] = {}
texts: dict[str, str] = {}


def _add(
    name: str,
    role: str,
    tenant: str,
    expires_ms: int = LATER_MS,
    revoked_ms: int | None = None,
    kind: str = KeyKind.BACKEND,
) -> None:
    author = name.replace(" ", "-")
    texts[name], record = issue_key(author, role, tenant, now_ms=0, expires_ms=expires_ms, kind=kind)
    keys[name] = replace(record, revoked_ms=revoked_ms)


for _prefix, _tenant in (("", TENANT), ("other ", OTHER)):
    _add(f"{_prefix}shop", Role.QUOTES, _tenant)
    _add(f"{_prefix}reader", Role.READER, _tenant)
    _add(f"{_prefix}analyst", Role.ANALYST, _tenant)
    _add(f"{_prefix}manager", Role.PRICING_MANAGER, _tenant)
    _add(f"{_prefix}tenant admin", Role.ADMIN, _tenant)
_add("browser", Role.QUOTES, TENANT, kind=KeyKind.PUBLIC)
_add("every reader", Role.READER, EVERY_TENANT)
_add("admin", Role.ADMIN, EVERY_TENANT)
_add("expired", Role.QUOTES, TENANT, expires_ms=1)
_add("revoked", Role.QUOTES, TENANT, revoked_ms=1)


def bearer(name: str) -> dict[str, str]:
    """Return the header that presents a key."""
    return {"authorization": f"Bearer {texts[name]}"}
