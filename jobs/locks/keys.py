"""Signing keys of price locks: which one signs now, and which are published.

A key signs from ``signs_from_ms`` on until a newer one does. It stays published until the last lock that it may
have signed has expired. Keys are Ed25519 (RFC 8032) and are written as JSON Web Keys (RFC 7517, RFC 8037).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jobs.pricing.policy_limits import MAX_LOCK_MINUTES
from schemas.time_units import MINUTE_MS

KEY_BYTES = 32
KEPT_LONGER_MS = 10 * MINUTE_MS
"""Time for which a key stays published after its last lock, since the clocks of a deployment's edges differ."""


class LockKeyError(ValueError):
    """Keys that cannot be used; the message states what was expected and what to do, and never a key."""


@dataclass(frozen=True)
class LockKey:
    """One signing key.

    Parameters
    ----------
    private : the private key; not part of the repr.
    signs_from_ms : run time from which on the key signs, epoch ms.

    Examples
    --------
    >>> key = LockKey.generate(signs_from_ms=0)
    >>> key == LockKey.from_jwk(key.private_jwk()), len(key.kid)
    (True, 43)
    >>> sorted(key.public_jwk())
    ['alg', 'crv', 'kid', 'kty', 'use', 'x']
    """

    private: Ed25519PrivateKey = field(repr=False, compare=False)
    signs_from_ms: int
    kid: str = field(init=False)
    """Name of the key: its thumbprint by RFC 7638."""

    def __post_init__(self) -> None:
        """Compute the name of the key."""
        public = {"crv": "Ed25519", "kty": "OKP", "x": encode(self.public.public_bytes_raw())}
        canonical = json.dumps(public, separators=(",", ":"), sort_keys=True).encode()
        object.__setattr__(self, "kid", encode(hashlib.sha256(canonical).digest()))

    @classmethod
    def generate(cls, *, signs_from_ms: int) -> LockKey:
        """Return a new random key."""
        return cls(Ed25519PrivateKey.generate(), signs_from_ms)

    @cached_property
    def public(self) -> Ed25519PublicKey:
        """The public key."""
        return self.private.public_key()

    def public_jwk(self) -> dict[str, str]:
        """Return the public key as a JSON Web Key."""
        return {
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid,
            "x": encode(self.public.public_bytes_raw()),
        }  # fmt: skip

    def private_jwk(self) -> dict[str, Any]:
        """Return the private key as a JSON Web Key with the time from which on it signs."""
        secret = encode(self.private.private_bytes_raw())
        return self.public_jwk() | {"d": secret, "signs_from_ms": self.signs_from_ms}

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> LockKey:
        """Return the key of a private JSON Web Key.

        Raises
        ------
        LockKeyError
            If the value is no such key.
        """
        try:
            secret = base64.urlsafe_b64decode(jwk["d"] + "=")
            return cls(Ed25519PrivateKey.from_private_bytes(secret), int(jwk["signs_from_ms"]))
        except (KeyError, TypeError, ValueError):
            # The cause is left out: it may quote the key.
            raise LockKeyError(
                f"expected a private Ed25519 key as JSON Web Key with d ({KEY_BYTES} bytes in base64url) and "
                "signs_from_ms"
            ) from None


class LockKeys:
    """The keys of a deployment.

    Examples
    --------
    >>> old, new = LockKey.generate(signs_from_ms=0), LockKey.generate(signs_from_ms=60_000)
    >>> keys = LockKeys([new, old])
    >>> keys.signing(59_999) == old, keys.signing(60_000) == new
    (True, True)
    >>> [len(keys.published(now_ms)) for now_ms in (0, 60_000, 60_000 + 2 * 86_400_000)]
    [2, 2, 1]
    """

    def __init__(self, keys: Iterable[LockKey]) -> None:
        # Newest first; the name decides between keys of one moment.
        self._keys = tuple(sorted(keys, key=lambda key: (-key.signs_from_ms, key.kid)))
        if not self._keys:
            raise LockKeyError("expected at least one signing key, got none")
        self._by_kid = {key.kid: key for key in self._keys}

    def signing(self, now_ms: int) -> LockKey:
        """Return the key that signs at a time: the newest one whose time has come."""
        return next((key for key in self._keys if key.signs_from_ms <= now_ms), self._keys[-1])

    def published(self, now_ms: int) -> tuple[LockKey, ...]:
        """Return the keys whose locks are accepted at a time, newest first.

        A key is published before it signs, and until the longest lock of the policy's bound has expired that it
        may have signed.
        """
        kept = [self._keys[0]]
        for newer, key in zip(self._keys, self._keys[1:], strict=False):
            if now_ms <= newer.signs_from_ms + MAX_LOCK_MINUTES * MINUTE_MS + KEPT_LONGER_MS:
                kept.append(key)
        return tuple(kept)

    def public_key(self, kid: str, now_ms: int) -> Ed25519PublicKey | None:
        """Return the public key of that name; None if no such key is published."""
        key = self._by_kid.get(kid)
        return key.public if key is not None and key in self.published(now_ms) else None

    def key_set(self, now_ms: int) -> dict[str, Any]:
        """Return the published keys as a JSON Web Key Set."""
        return {"keys": [key.public_jwk() for key in self.published(now_ms)]}

    def rotated(self, now_ms: int, *, lead_ms: int, revoke: bool = False) -> LockKeys:
        """Return these keys with a new one.

        Parameters
        ----------
        lead_ms : time for which the new key is published before it signs.
        revoke : remove all former keys at once; the new key signs at once.

        >>> keys = LockKeys([LockKey.generate(signs_from_ms=0)])
        >>> [len(keys.rotated(10, lead_ms=5, revoke=revoke).published(10)) for revoke in (False, True)]
        [2, 1]
        """
        if revoke:
            return LockKeys([LockKey.generate(signs_from_ms=now_ms)])
        # Never at the moment of the former one, so that the order of the keys is certain.
        new = LockKey.generate(signs_from_ms=max(now_ms + lead_ms, self._keys[0].signs_from_ms + 1))
        return LockKeys([new, *self.published(now_ms)])

    def private_key_set(self) -> dict[str, Any]:
        """Return all keys, private parts included, for the key file."""
        return {"keys": [key.private_jwk() for key in self._keys]}

    @classmethod
    def from_private_key_set(cls, content: Any) -> LockKeys:
        """Return the keys of a key file's content.

        Raises
        ------
        LockKeyError
            If the content is not a set of private keys.
        """
        if not isinstance(content, dict) or not isinstance(content.get("keys"), list):
            raise LockKeyError("expected an object with the list keys of private JSON Web Keys")
        return cls(LockKey.from_jwk(jwk) for jwk in content["keys"] if isinstance(jwk, dict))


def encode(raw: bytes) -> str:
    """Return bytes in base64url without padding.

    >>> encode(b"abcd")
    'YWJjZA'
    """
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
