"""Keys of every role in two tenants, with their texts."""

from __future__ import annotations

from jobs.access import EVERY_TENANT, Role, issue_key
from schemas.records.operator_events import AccessKey

LATER_MS = 1 << 52
TENANT, OTHER = "acme", "acme2"
keys: dict[str, AccessKey] = {}
texts: dict[str, str] = {}


def _add(name: str, role: str, tenant: str, expires_ms: int = LATER_MS, revoked_ms: int | None = None) -> None:
    text, record = issue_key(name.replace(" ", "-"), role, tenant, now_ms=0, expires_ms=expires_ms)
    texts[name] = text
    keys[name] = AccessKey(record.key_id, 0, tenant, role, record.author, record.digest, expires_ms, revoked_ms)


for _prefix, _tenant in (("", TENANT), ("other ", OTHER)):
    _add(f"{_prefix}shop", Role.QUOTES, _tenant)
    _add(f"{_prefix}reader", Role.READER, _tenant)
    _add(f"{_prefix}analyst", Role.ANALYST, _tenant)
    _add(f"{_prefix}manager", Role.PRICING_MANAGER, _tenant)
    _add(f"{_prefix}tenant admin", Role.ADMIN, _tenant)
_add("admin", Role.ADMIN, EVERY_TENANT)
_add("expired", Role.QUOTES, TENANT, expires_ms=1)
_add("revoked", Role.QUOTES, TENANT, revoked_ms=1)


def bearer(name: str) -> dict[str, str]:
    """Return the header that presents a key."""
    return {"authorization": f"Bearer {texts[name]}"}
