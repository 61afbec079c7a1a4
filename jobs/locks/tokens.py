"""Price locks as signed tokens: JSON Web Tokens in compact form (RFC 7519) with Ed25519 signatures (RFC 8037).

The header has ``alg`` (always ``EdDSA``), ``typ`` (``JWT``) and ``kid``, the key's name. The claims are

=================  ===================================================================
iss, aud           ``walras``, ``checkout``
sub                pseudonym of the customer
jti                the lock's id: 128 random bits
iat, exp           epoch seconds of the run's clock; a lock is valid before ``exp``
listing            ``tenant/market/sku``
price_minor        the price in minor units of ``currency``
version, quote_id  version of the price table, and the quote that the lock repeats
=================  ===================================================================

A checkout verifies a token with any JOSE library and the published key set; it must accept ``EdDSA`` alone and
require issuer and audience. :func:`verify` accepts exactly one spelling of each token.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import jwt
from cryptography.exceptions import InvalidSignature

from jobs.locks.keys import LockKey, LockKeys, encode
from schemas.listings import Listing
from schemas.time_units import MINUTE_MS

ALGORITHM, TOKEN_TYPE = "EdDSA", "JWT"
ISSUER, AUDIENCE = "walras", "checkout"
MAX_TOKEN_BYTES = 4_096
"""Longer tokens are refused unread."""
CLAIMS: dict[str, type] = {
    "iss": str, "aud": str, "sub": str, "jti": str, "iat": int, "exp": int, "listing": str, "price_minor": int,
    "currency": str, "version": int, "quote_id": str,
}  # fmt: skip
"""Required claims and their types."""
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")


class LockCode(StrEnum):
    """Why a token is refused."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    WRONG_CLAIMS = "wrong_claims"
    EXPIRED = "expired"


class LockError(ValueError):
    """A token that is no valid price lock.

    Attributes
    ----------
    code : the reason.
    """

    def __init__(self, code: LockCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class PriceLock:
    """A price that holds for one customer until the lock expires. Times are epoch seconds of the run's clock."""

    lock_id: str
    listing: Listing
    customer: str
    price_minor: int
    currency: str
    version: int
    quote_id: str
    issued_s: int
    expires_s: int

    @property
    def expires_ms(self) -> int:
        """Time from which on the lock is invalid, epoch ms."""
        return 1_000 * self.expires_s

    @classmethod
    def of_quote(cls, quote: Mapping[str, Any], now_ms: int, minutes: int) -> PriceLock:
        """Return a new lock of a quote's price, from the public reply to a price request.

        Parameters
        ----------
        minutes : how long the lock is valid, counted from the start of the present second.

        >>> quote = {"tenant": "acme", "market": "web", "sku": "s", "customer": "c", "price_minor": 900,
        ...     "currency": "USD", "version": 7, "quote_id": "q-1"}
        >>> lock = PriceLock.of_quote(quote, 10_999, 30)
        >>> lock.issued_s, lock.expires_s, len(lock.lock_id)
        (10, 1810, 32)
        """
        return cls(
            secrets.token_hex(16), Listing(quote["tenant"], quote["market"], quote["sku"]), quote["customer"],
            quote["price_minor"], quote["currency"], quote["version"], quote["quote_id"], now_ms // 1_000,
            (now_ms // 1_000) + minutes * MINUTE_MS // 1_000,
        )  # fmt: skip

    def claims(self) -> dict[str, Any]:
        """Return the claims of the lock's token."""
        return {
            "iss": ISSUER, "aud": AUDIENCE, "sub": self.customer, "jti": self.lock_id, "iat": self.issued_s,
            "exp": self.expires_s, "listing": self.listing.key, "price_minor": self.price_minor,
            "currency": self.currency, "version": self.version, "quote_id": self.quote_id,
        }  # fmt: skip


def utc(epoch_s: int) -> str:
    """Return a time in UTC; as seconds where no calendar has it.

    >>> utc(1767571200), utc(-(10**15))
    ('2026-01-05T00:00:00Z', '-1000000000000000 s')
    """
    try:
        return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return f"{epoch_s} s"


def sign(lock: PriceLock, key: LockKey) -> str:
    """Return a lock's token."""
    return jwt.encode(lock.claims(), key.private, ALGORITHM, {"kid": key.kid, "typ": TOKEN_TYPE})


def verify(token: str, keys: LockKeys, now_ms: int, *, expired: bool = False) -> PriceLock:
    """Return the lock of a genuine token that has not expired.

    Parameters
    ----------
    now_ms : the run's time, epoch ms.
    expired : accept a genuine token that has expired.

    Raises
    ------
    LockError
        If the token is anything else.

    Examples
    --------
    >>> keys = LockKeys([LockKey.generate(signs_from_ms=0)])
    >>> lock = PriceLock("id", Listing("acme", "web", "s"), "customer", 900, "USD", 7, "q-1", 0, 60)
    >>> token = sign(lock, keys.signing(0))
    >>> verify(token, keys, 59_999) == lock
    True
    >>> verify(token, keys, 60_000)
    Traceback (most recent call last):
    ...
    jobs.locks.tokens.LockError: expected a lock that is still valid, got one that expired at \
1970-01-01T00:01:00Z; the run's clock is at 1970-01-01T00:01:00Z; ask for a new quote
    """
    kid, claims, signature = _parts(token)
    public = keys.public_key(kid, now_ms)
    if public is None:
        raise LockError(
            LockCode.UNKNOWN_KEY, f"kid: expected the name of a published key (/v1/locks/keys), got {kid!r}"
        )
    try:
        public.verify(signature, token.rpartition(".")[0].encode())
    except InvalidSignature:
        raise LockError(LockCode.BAD_SIGNATURE, f"expected a signature of key {kid}, got another") from None
    lock = _lock(claims)
    if not expired and now_ms >= lock.expires_ms:
        raise LockError(
            LockCode.EXPIRED,
            f"expected a lock that is still valid, got one that expired at {utc(lock.expires_s)}; the run's "
            f"clock is at {utc(now_ms // 1000)}; ask for a new quote",
        )
    return lock


def _parts(token: str) -> tuple[str, bytes, bytes]:
    """Return key name, claims and signature of a token whose spelling and header are those of :func:`sign`.

    Decoders ignore characters outside the alphabet and the unused bits of the last character, so that a signature
    has several spellings. All but one are refused. The header chooses nothing but the key.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise LockError(LockCode.MALFORMED, f"expected at most {MAX_TOKEN_BYTES} characters, got {len(token)}")
    if _COMPACT.fullmatch(token) is None:
        raise LockError(LockCode.MALFORMED, "expected three parts in base64url, separated by dots")
    header, claims, signature = token.split(".")
    return _key_name(header), _bytes(claims), _bytes(signature)


@lru_cache(maxsize=64)
def _key_name(header: str) -> str:
    """Return the key's name of an encoded header; all tokens of a key have the same one."""
    text = _bytes(header)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise LockError(LockCode.MALFORMED, "header: expected JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("kid"), str):
        raise LockError(LockCode.MALFORMED, "header: expected an object with alg, typ and kid")
    if fields != {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": fields["kid"]}:
        raise LockError(LockCode.MALFORMED, f"header: expected alg {ALGORITHM}, typ {TOKEN_TYPE} and kid alone")
    return str(fields["kid"])


def _bytes(part: str) -> bytes:
    """Return the bytes of one part, whose characters have been checked."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise LockError(LockCode.MALFORMED, "expected base64url of whole bytes") from None
    if encode(raw) != part:
        raise LockError(LockCode.MALFORMED, "expected base64url without unused bits")
    return raw


def _lock(text: bytes) -> PriceLock:
    """Return the lock of signed claims."""
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        raise LockError(LockCode.WRONG_CLAIMS, "expected claims in JSON") from None
    if not isinstance(claims, dict):
        raise LockError(LockCode.WRONG_CLAIMS, f"expected an object of claims, got {type(claims).__name__}")
    for name, kind in CLAIMS.items():
        # A bool is an int in Python, and not in a token.
        if type(claims.get(name)) is not kind:
            raise LockError(
                LockCode.WRONG_CLAIMS, f"{name}: expected {kind.__name__}, got {str(claims.get(name))[:100]!r}"
            )
    for name, expected in (("iss", ISSUER), ("aud", AUDIENCE)):
        if claims[name] != expected:
            raise LockError(LockCode.WRONG_CLAIMS, f"{name}: expected {expected}, got {claims[name][:100]!r}")
    try:
        listing = Listing.parse(claims["listing"])
    except ValueError as error:
        raise LockError(LockCode.WRONG_CLAIMS, f"listing: {error}") from None
    return PriceLock(
        claims["jti"], listing, claims["sub"], claims["price_minor"], claims["currency"], claims["version"],
        claims["quote_id"], claims["iat"], claims["exp"],
    )  # fmt: skip
