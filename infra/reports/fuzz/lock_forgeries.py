"""FORGERIES: ways to make a token that is no valid price lock from genuine ones and the published keys.

To add a forgery: a function of a :class:`Workshop` that returns a token, and an entry in ``FORGERIES``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jwt

from jobs.locks.keys import LockKey, LockKeys, encode
from jobs.locks.tokens import ALGORITHM, AUDIENCE, ISSUER, LockError, PriceLock, sign, verify
from schemas.listings import Listing
from schemas.time_units import DAY_MS

NOW_MS = 1_790_000_000_000
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
"""Order of Ed25519's group; S + order is another spelling of the scalar S of a signature."""


@dataclass
class Workshop:
    """Genuine tokens, keys, and a seeded source of randomness.

    ``keys`` holds the signing key and a former one; ``retired`` was a key and is no longer published; ``stranger``
    never was one.
    """

    seed: int
    rng: random.Random = field(init=False)
    keys: LockKeys = field(init=False)
    retired: LockKey = field(init=False)
    stranger: LockKey = field(init=False)
    lock: PriceLock = field(init=False)
    token: str = field(init=False)

    def __post_init__(self) -> None:
        """Generate keys, which are random, and choices, which follow the seed."""
        self.rng = random.Random(self.seed)
        ages = (0, 2 * DAY_MS, 20 * DAY_MS)
        keys = [LockKey.generate(signs_from_ms=NOW_MS - age) for age in ages]
        self.keys, self.retired = LockKeys(keys), keys[-1]
        self.stranger = LockKey.generate(signs_from_ms=0)
        self.renew()

    def renew(self) -> None:
        """Take a new genuine token."""
        self.lock = PriceLock(
            f"{self.rng.getrandbits(128):032x}",
            Listing("acme", "web-us-usd", f"sku-{self.rng.randrange(10_000)}"),
            f"{self.rng.getrandbits(128):032x}", self.rng.randrange(1, 100_000), "USD",
            self.rng.randrange(1, 10**13), f"q-{self.rng.getrandbits(64):x}", NOW_MS // 1000 - 60,
            NOW_MS // 1000 + self.rng.randrange(1, 1800),
        )  # fmt: skip
        self.token = sign(self.lock, self.rng.choice(self.keys.published(NOW_MS)))

    @property
    def signing(self) -> LockKey:
        """The key that signs."""
        return self.keys.signing(NOW_MS)

    def parts(self) -> list[str]:
        """Return header, claims and signature of the genuine token, encoded."""
        return self.token.split(".")

    def signed(self, claims: Mapping[str, Any], key: LockKey | None = None, **header: Any) -> str:
        """Return a token with these claims and a genuine signature, as only a leaked key could make."""
        key = key or self.signing
        headers = {"kid": self.signing.kid, "typ": "JWT"} | header
        return jwt.encode(dict(claims), key.private, ALGORITHM, headers)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _json(value: Any) -> str:
    return encode(json.dumps(value, separators=(",", ":")).encode())


def one_character_changed(shop: Workshop) -> str:
    """Replace one character by another of the alphabet."""
    at = shop.rng.randrange(len(shop.token))
    other = shop.rng.choice([c for c in ALPHABET + ".=+/ " if c != shop.token[at]])
    return shop.token[:at] + other + shop.token[at + 1 :]


def one_bit_of_the_signature_changed(shop: Workshop) -> str:
    """Flip one bit of the signature."""
    header, claims, signature = shop.parts()
    bit = shop.rng.randrange(512)
    raw = int.from_bytes(_decoded(signature), "big") ^ (1 << bit)
    return f"{header}.{claims}.{encode(raw.to_bytes(64, 'big'))}"


def character_inserted_or_removed(shop: Workshop) -> str:
    """Insert or remove one character; decoders skip some characters."""
    at = shop.rng.randrange(len(shop.token))
    if shop.rng.random() < 0.5:
        return shop.token[:at] + shop.token[at + 1 :]
    return shop.token[:at] + shop.rng.choice("!=+/ \n\t." + ALPHABET) + shop.token[at:]


def unused_bits_of_the_signature(shop: Workshop) -> str:
    """Set bits of the last character that no byte of the signature uses."""
    last = ALPHABET.index(shop.token[-1])
    return shop.token[:-1] + ALPHABET[last ^ shop.rng.randrange(1, 16)]


def second_spelling_of_the_scalar(shop: Workshop) -> str:
    """Add the group's order to the signature's scalar."""
    header, claims, signature = shop.parts()
    raw = _decoded(signature)
    scalar = int.from_bytes(raw[32:], "little") + GROUP_ORDER
    return f"{header}.{claims}.{encode(raw[:32] + scalar.to_bytes(32, 'little'))}"


def claims_changed(shop: Workshop) -> str:
    """Change a claim and keep the signature."""
    header, _, signature = shop.parts()
    claims = shop.lock.claims()
    name = shop.rng.choice(sorted(claims))
    value = claims[name]
    claims[name] = value - shop.rng.randrange(1, value + 1) if isinstance(value, int) else f"{value}x"
    return f"{header}.{_json(claims)}.{signature}"


def claims_exchanged(shop: Workshop) -> str:
    """Use one genuine token's signature for another one's claims."""
    header, _, signature = shop.parts()
    shop.renew()
    return f"{header}.{shop.parts()[1]}.{signature}"


def expired(shop: Workshop) -> str:
    """Take a genuine token that has expired."""
    ago_s = shop.rng.choice([0, 1, shop.rng.randrange(1, 10**9)])
    return sign(replace(shop.lock, expires_s=NOW_MS // 1000 - ago_s), shop.signing)


def unsigned(shop: Workshop) -> str:
    """Name no algorithm, with an empty, random or kept signature."""
    name = shop.rng.choice(["none", "None", "NONE", "nOnE", ""])
    header = {"alg": name, "typ": "JWT", "kid": shop.signing.kid}
    signature = shop.rng.choice(["", shop.parts()[2], encode(shop.rng.randbytes(64))])
    return f"{_json(header)}.{shop.parts()[1]}.{signature}"


def public_key_as_secret(shop: Workshop) -> str:
    """Sign with a hash whose secret is the published key, in one of its spellings."""
    jwk, raw = shop.signing.public_jwk(), shop.signing.public.public_bytes_raw()
    name, digest = shop.rng.choice(
        [("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)]
    )
    secret = shop.rng.choice([raw, jwk["x"].encode(), json.dumps(jwk).encode()])
    head = _json({"alg": shop.rng.choice([name, ALGORITHM]), "typ": "JWT", "kid": shop.signing.kid})
    text = f"{head}.{shop.parts()[1]}"
    return f"{text}.{encode(hmac.new(secret, text.encode(), digest).digest())}"


def stranger(shop: Workshop) -> str:
    """Sign with an own key, under its own name or the name of a published one."""
    kid = shop.rng.choice([shop.stranger.kid, shop.signing.kid])
    return shop.signed(shop.lock.claims(), shop.stranger, kid=kid)


def key_in_the_header(shop: Workshop) -> str:
    """Sign with an own key and carry it in the header."""
    more: dict[str, Any] = shop.rng.choice([
        {"jwk": shop.stranger.public_jwk()}, {"jku": "https://example.com/keys"}, {"x5u": "https://example.com/x"},
    ])  # fmt: skip
    return shop.signed(shop.lock.claims(), shop.stranger, **more)


def retired_key(shop: Workshop) -> str:
    """Sign with a key that is no longer published."""
    return sign(shop.lock, shop.retired)


def other_audience_or_issuer(shop: Workshop) -> str:
    """Take a token that the same key has signed for another purpose."""
    claim, own = shop.rng.choice([("iss", ISSUER), ("aud", AUDIENCE)])
    other = shop.rng.choice(["", own.upper(), f"{own} ", f"other-{own}", None, [], [own, "other"], {own: 1}])
    try:
        return shop.signed(shop.lock.claims() | {claim: other})
    except TypeError:
        # PyJWT does not sign an issuer that is no text.
        return shop.signed(shop.lock.claims() | {claim: f"{own}\0"})


def claim_missing_or_mistyped(shop: Workshop) -> str:
    """Leave out a claim, or give it another type, under a genuine signature."""
    claims = shop.lock.claims()
    name = shop.rng.choice(sorted(claims.keys() - {"iss", "aud"}))
    if shop.rng.random() < 0.5:
        del claims[name]
    else:
        claims[name] = shop.rng.choice([None, True, [claims[name]], {"value": claims[name]}, 1.5])
    try:
        return shop.signed(claims)
    except (TypeError, ValueError):
        del claims[name]
        return shop.signed(claims)


def header_extended(shop: Workshop) -> str:
    """Add parameters to the header under a genuine signature, or change its type."""
    more: dict[str, Any] = shop.rng.choice(
        [{"crit": ["exp"], "exp": 1}, {"b64": True, "x": 1}, {"typ": "JOSE"}, {"zip": "DEF"}]
    )
    return shop.signed(shop.lock.claims(), **more)


def noise(shop: Workshop) -> str:
    """Return random text, long text, or deeply nested JSON."""
    kind = shop.rng.randrange(4)
    if kind == 0:
        return "".join(
            chr(shop.rng.choice([*range(32, 127), 0, 0xE9, 0x1F600])) for _ in range(shop.rng.randrange(200))
        )
    if kind == 1:
        return ".".join("A" * shop.rng.randrange(2_000) for _ in range(3))
    if kind == 2:
        nested = encode(b"[" * 2_500)
        return f"{nested}.{nested[:40]}.{'A' * 86}"
    return shop.token + shop.rng.choice([".", "." + shop.token, "\0", "=", "==", "\n"])


Forgery = Callable[[Workshop], str]
FORGERIES: tuple[Forgery, ...] = (
    one_character_changed, one_bit_of_the_signature_changed, character_inserted_or_removed,
    unused_bits_of_the_signature, second_spelling_of_the_scalar, claims_changed, claims_exchanged, expired,
    unsigned, public_key_as_secret, stranger, key_in_the_header, retired_key, other_audience_or_issuer,
    claim_missing_or_mistyped, header_extended, noise,
)  # fmt: skip


@dataclass
class Attack:
    """Result of an attack: refusals by forgery and code, accepted tokens, and genuine tokens that were refused."""

    refused: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    genuine_refused: int = 0


def attack(tries: int, seed: int, *, genuine_every: int = 100) -> Attack:
    """Verify that many forged tokens, and now and then a genuine one, which must be accepted."""
    shop, found = Workshop(seed), Attack()
    for number in range(tries):
        if number % genuine_every == 0:
            shop.renew()
            try:
                found.genuine_refused += verify(shop.token, shop.keys, NOW_MS) != shop.lock
            except LockError:
                found.genuine_refused += 1
        forge = FORGERIES[number % len(FORGERIES)]
        token = forge(shop)
        try:
            verify(token, shop.keys, NOW_MS)
        except LockError as error:
            found.refused[f"{forge.__name__}: {error.code}"] += 1
        else:
            found.accepted.append(f"{forge.__name__}: {token}")
    return found
