"""SignInAttempt: the state, nonce and PKCE verifier of one sign-in, derived from one secret in a cookie. Pure.

The operator port keeps nothing until a sign-in succeeds: a client that starts many of them fills no memory, and
any operator port of a deployment can finish one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple


class SignInAttempt(NamedTuple):
    """Three values of 256 bits each, none of which can be computed from the others.

    ``state`` ties the provider's answer to the browser, ``nonce`` the ID token to the attempt, and ``verifier``
    the code to the client that requested it (RFC 7636).

    Examples
    --------
    >>> one, other = SignInAttempt.of("a" * 43), SignInAttempt.of("b" * 43)
    >>> len(set(one) | set(other)), {len(value) for value in one}
    (6, {43})
    """

    state: str
    nonce: str
    verifier: str

    @classmethod
    def of(cls, secret: str) -> SignInAttempt:
        """Return the attempt of a secret."""
        return cls(*(_derived(secret, use) for use in cls._fields))


def new_secret() -> str:
    """Return a new secret of an attempt, 256 random bits."""
    return secrets.token_urlsafe(32)


def _derived(secret: str, use: str) -> str:
    digest = hmac.digest(secret.encode(), use.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
