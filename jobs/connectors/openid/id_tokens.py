"""Check ID tokens: signature, issuer, audience, times, nonce (OpenID Connect Core 1.0, section 3.1.3.7)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key
from joserfc.jws import JWSRegistry

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signature algorithms that are accepted. All need the provider's private key: neither ``none`` nor HMAC."""
LEEWAY_S = 30
"""Difference between the provider's clock and this machine's that is tolerated, seconds."""
MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What a token or key of a wrong form raises beside the library's own errors."""


class InvalidTokenError(Exception):
    """An ID token that is not accepted; the message names the claim or the reason, and repeats no value."""


class UnknownKeyError(InvalidTokenError):
    """No key of the set verifies the token; the provider may have published new ones."""


class ExpectedToken(NamedTuple):
    """What an ID token must fit. ``algorithms``: those of the discovery document."""

    issuer: str
    client_id: str
    nonce: str
    algorithms: Sequence[str]


def check_id_token(
    token: str, keys: Mapping[str, Any], expected: ExpectedToken, *, access_token: str | None, now_s: int
) -> dict[str, Any]:
    """Return the claims of an ID token.

    Parameters
    ----------
    keys : the provider's key set (RFC 7517).
    access_token : sent with the token, which may hold its hash.
    now_s : wall time, epoch seconds.

    Raises
    ------
    UnknownKeyError
        If no key of the set has the token's key id, or the signature is wrong.
    InvalidTokenError
        If the token is malformed, signed with another algorithm, expired, or of another issuer, client or attempt.
    """
    allowed = [name for name in ALGORITHMS if name in expected.algorithms]
    if not allowed:
        raise InvalidTokenError(f"algorithm: expected one of {', '.join(ALGORITHMS)}, the provider has none")
    try:
        registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
        decoded = jwt.decode(token, _usable(keys), registry=registry)
        options = {
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
        }
        given = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": access_token}
        claims = CodeIDToken(decoded.claims, decoded.header, options, given)
        claims.validate(now=now_s, leeway=LEEWAY_S)
    except (BadSignatureError, InvalidKeyIdError) as error:
        raise UnknownKeyError(error.error) from None
    except JoseError as error:
        raise InvalidTokenError(f"{error.error} {getattr(error, 'claim', '')}".strip()) from None
    except MALFORMED as error:
        raise InvalidTokenError(f"malformed: {type(error).__name__}") from None
    return dict(claims)


def _usable(keys: Mapping[str, Any]) -> KeySet:
    """Return the keys of a set that can be read: one of an unknown kind does not spoil the others."""
    found: list[Key] = []
    for each in keys["keys"]:
        with contextlib.suppress(JoseError, *MALFORMED):
            found.append(import_key(each))
    return KeySet(found)
