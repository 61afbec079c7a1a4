"""Tokens of price locks: one spelling each, and nothing but a genuine lock is accepted."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from jobs.locks.keys import LockKey
from jobs.locks.tokens import ALGORITHM, CLAIMS, MAX_TOKEN_BYTES, LockCode, LockError, PriceLock, sign, verify
from tests.jobs.locks.lock_builders import KEYS, MINUTE, NOW, a_lock, a_token

TOKEN = a_token()
EXPIRES = NOW + 30 * MINUTE


def refusal(token: str, now_ms: int = NOW, **more: Any) -> LockCode:
    with pytest.raises(LockError) as found:
        verify(token, KEYS, now_ms, **more)
    return found.value.code


def signed(claims: dict[str, Any], **header: Any) -> str:
    key = KEYS.signing(NOW)
    return jwt.encode(claims, key.private, ALGORITHM, {"kid": key.kid} | header)


def test_lock_of_a_token_equals_the_signed_lock() -> None:
    assert verify(TOKEN, KEYS, NOW) == a_lock()


@given(
    price=st.integers(1, 10**10),
    version=st.integers(0, 2**53),
    sku=st.text("aé/USD😀 +", min_size=1, max_size=128),
)
def test_every_lock_survives_its_token(price: int, version: int, sku: str) -> None:
    listing = a_lock().listing.__class__("a" * 64, "m" * 64, sku)
    lock = a_lock(price_minor=price, version=version, listing=listing)
    token = sign(lock, KEYS.signing(NOW))
    assert len(token) <= MAX_TOKEN_BYTES and verify(token, KEYS, NOW) == lock


def test_published_key_verifies_a_token_without_this_project() -> None:
    [jwk] = json.loads(json.dumps(KEYS.key_set(NOW)))["keys"]
    text, _, signature = TOKEN.rpartition(".")
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))
    public.verify(base64.urlsafe_b64decode(signature + "=="), text.encode())
    claims = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert claims["exp"] == EXPIRES // 1000 and set(claims) == set(CLAIMS)
    with_library = jwt.decode(
        TOKEN, jwt.PyJWK(jwk), ["EdDSA"], audience="checkout", issuer="walras", options={"verify_exp": False}
    )
    assert with_library == claims


def test_lock_is_valid_until_the_millisecond_before_it_expires() -> None:
    assert verify(TOKEN, KEYS, EXPIRES - 1) == a_lock()
    assert refusal(TOKEN, EXPIRES) is LockCode.EXPIRED
    assert verify(TOKEN, KEYS, EXPIRES, expired=True) == a_lock()


@given(at=st.integers(0, len(TOKEN) - 1), byte=st.integers(0, 127))
def test_any_changed_byte_is_refused(at: int, byte: int) -> None:
    changed = TOKEN[:at] + chr(byte) + TOKEN[at + 1 :]
    if changed != TOKEN:
        refusal(changed)


def test_every_change_of_the_last_character_is_refused() -> None:
    """The last character has four bits that no byte of the signature uses."""
    for byte in range(128):
        if chr(byte) != TOKEN[-1]:
            refusal(TOKEN[:-1] + chr(byte))


@given(at=st.integers(0, len(TOKEN)), text=st.text(min_size=1, max_size=3))
def test_inserted_text_is_refused(at: int, text: str) -> None:
    refusal(TOKEN[:at] + text + TOKEN[at:])


@given(st.text() | st.text("abcXYZ019-_.="))
def test_text_that_is_no_token_is_refused(text: str) -> None:
    assert refusal(text) is LockCode.MALFORMED


def test_token_without_algorithm_is_refused() -> None:
    unsigned = jwt.encode(a_lock().claims(), None, "none", {"kid": KEYS.signing(NOW).kid})
    assert refusal(unsigned) is LockCode.MALFORMED


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512"])
def test_hash_with_the_public_key_as_secret_is_refused(name: str) -> None:
    key = KEYS.signing(NOW)
    forged = jwt.encode(a_lock().claims(), key.public.public_bytes_raw() * 2, name, {"kid": key.kid})
    assert refusal(forged) is LockCode.MALFORMED


def test_token_of_an_unpublished_key_is_refused() -> None:
    assert refusal(sign(a_lock(), LockKey.generate(signs_from_ms=0))) is LockCode.UNKNOWN_KEY


def test_token_of_another_key_under_a_published_name_is_refused() -> None:
    other = LockKey.generate(signs_from_ms=0)
    forged = jwt.encode(a_lock().claims(), other.private, ALGORITHM, {"kid": KEYS.signing(NOW).kid})
    assert refusal(forged) is LockCode.BAD_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [{"iss": "other"}, {"iss": ""}, {"aud": "shop"}, {"aud": ["checkout", "shop"]}, {"price_minor": "1999"},
     {"price_minor": True}, {"version": 1.5}, {"exp": None}, {"listing": "acme"}],
)  # fmt: skip
def test_genuine_signature_of_other_claims_is_refused(change: dict[str, Any]) -> None:
    assert refusal(signed(a_lock().claims() | change)) is LockCode.WRONG_CLAIMS


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_every_claim_is_required(name: str) -> None:
    claims = a_lock().claims()
    del claims[name]
    assert refusal(signed(claims)) is LockCode.WRONG_CLAIMS


@pytest.mark.parametrize("header", [{"crit": ["x"], "x": 1}, {"typ": "JOSE"}, {"jku": "https://example.com"}])
def test_header_with_other_parameters_is_refused(header: dict[str, Any]) -> None:
    assert refusal(signed(a_lock().claims(), **header)) is LockCode.MALFORMED


def test_long_token_is_refused_unread() -> None:
    assert refusal(signed(a_lock().claims() | {"more": "x" * MAX_TOKEN_BYTES})) is LockCode.MALFORMED


def test_ids_of_locks_differ() -> None:
    quote = {"tenant": "t", "market": "m", "sku": "s", "customer": "c", "price_minor": 1, "currency": "USD",
             "version": 1, "quote_id": "q"}  # fmt: skip
    assert len({PriceLock.of_quote(quote, NOW, 1).lock_id for _ in range(1_000)}) == 1_000
