"""Time to verify a price lock, beside the bare check of its Ed25519 signature on the same bytes."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jobs.locks.keys import LockKey, LockKeys
from jobs.locks.tokens import PriceLock, sign, verify
from schemas.listings import Listing

NOW_MS = 1_790_000_000_000
TOKENS = 500


def _microseconds(calls: Sequence[Callable[[], object]]) -> float:
    began = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - began) / len(calls) * 1e6


def measure(*, rounds: int = 41) -> dict[str, float]:
    """Verify :data:`TOKENS` tokens per round, alternating with their bare signatures.

    Each round has its own ratio, so that other load of the machine affects both. The deployment has two published
    keys, as during a rotation.
    """
    old, new = LockKey.generate(signs_from_ms=0), LockKey.generate(signs_from_ms=NOW_MS - 60_000)
    keys = LockKeys([old, new])
    tokens = [
        sign(
            PriceLock(
                f"{n:032x}", Listing("acme", "web-us-usd", f"sku-{n}"), f"{n:032x}", 1_000 + n, "USD", NOW_MS,
                f"q-{n}", NOW_MS // 1000, NOW_MS // 1000 + 1800,
            ),
            (old, new)[n % 2],
        )
        for n in range(TOKENS)
    ]  # fmt: skip
    whole = [lambda token=token: verify(token, keys, NOW_MS) for token in tokens]
    bare = [_bare_check(token, (old, new)[n % 2].public) for n, token in enumerate(tokens)]
    pairs = [(_microseconds(bare), _microseconds(whole)) for _ in range(rounds)][1:]
    return {
        "verify_us": float(np.median([verified for _, verified in pairs])),
        "signature_us": float(np.median([signature for signature, _ in pairs])),
        "ratio": float(np.median([verified / signature for signature, verified in pairs])),
        "token_bytes": float(np.median([len(token) for token in tokens])),
    }


def _bare_check(token: str, public: Ed25519PublicKey) -> Callable[[], None]:
    text, _, encoded = token.rpartition(".")
    signed, signature = text.encode(), base64.urlsafe_b64decode(encoded + "==")
    return lambda: public.verify(signature, signed)
