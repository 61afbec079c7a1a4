"""Keys, locks and tokens for tests of price locks."""

from __future__ import annotations

from typing import Any

from jobs.locks.keys import LockKey, LockKeys
from jobs.locks.tokens import PriceLock, sign
from schemas.listings import Listing

NOW = 1_790_000_000_000
MINUTE = 60_000
KEYS = LockKeys([LockKey.generate(signs_from_ms=NOW - 10 * MINUTE)])


def a_lock(lock_id: str = "0" * 32, **more: Any) -> PriceLock:
    values: dict[str, Any] = {
        "listing": Listing("acme", "web-us-usd", "größe 4/7 😀"), "customer": "c" * 32, "price_minor": 1999,
        "currency": "USD", "version": 7, "quote_id": "q-1", "issued_s": NOW // 1000,
        "expires_s": NOW // 1000 + 1800,
    }  # fmt: skip
    return PriceLock(lock_id, **values | more)


def a_token(lock_id: str = "0" * 32, **more: Any) -> str:
    return sign(a_lock(lock_id, **more), KEYS.signing(NOW))
