"""Answers of a provider that are refused: forged tokens, withdrawn keys, unusable documents, and none at all."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.access import Permission, Role
from jobs.access.roles import may
from jobs.connectors.openid import id_tokens
from jobs.connectors.openid.provider import KEPT_MS, RETRY_MS
from tests.jobs.access.access_builders import texts
from tests.jobs.console.conftest import Opens
from tests.jobs.console.local_provider import (
    DISCOVERY,
    KEYS,
    TOKEN,
    LocalProvider,
    claims_of,
    segments,
    signed,
    signing_key,
)
from tests.jobs.console.provider_builders import (
    MANAGER,
    SITE,
    Wall,
    is_signed_in,
    options,
    sign_in,
)

WRONG_PARTS = ("iss", "aud", "nonce", "exp", "iat", "sub", "azp", "at_hash", "key", "alg none", "alg HS256")


def forged(part: str, key: Any, stranger: Any) -> Callable[[dict[str, Any]], str]:
    """Return what issues an ID token of which one part is wrong."""

    def issue(claims: dict[str, Any]) -> str:
        wrong: dict[str, Any] = {
            "iss": "https://elsewhere.example", "aud": "another-client", "nonce": "n", "exp": claims["iat"] - 60,
            "iat": claims["iat"] + 3600, "sub": None, "azp": "another-client", "at_hash": "AAAA",
        }  # fmt: skip
        if part == "key":
            return signed(claims, stranger)
        if part == "alg none":
            return segments({"alg": "none"}, claims) + "."
        if part == "alg HS256":
            text = segments({"alg": "HS256", "kid": key.kid}, claims)
            mac = hmac.digest(key.as_pem(private=False), text.encode(), hashlib.sha256)
            return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        return signed({name: value for name, value in (claims | {part: wrong[part]}).items() if value}, key)

    return issue


@pytest.mark.parametrize("part", WRONG_PARTS)
def test_id_token_with_a_wrong_part_is_refused(console: TestClient, provider: LocalProvider, part: str) -> None:
    key = signing_key("k1")
    provider.keys = [key]
    # The second key has the id of the first: the signature is wrong, not the id alone.
    provider.issue = forged(part, key, signing_key("k1", 1))
    reply = sign_in(console, provider, MANAGER)
    assert reply.status_code == 401 and not is_signed_in(console)
    assert "__Host-walras=" not in str(reply.headers.get_list("set-cookie"))
    provider.issue = lambda claims: signed(claims, key)
    assert sign_in(console, provider, MANAGER).status_code == 200, "the same token without the wrong part"


@pytest.mark.parametrize("name", ["iss", "aud", "nonce", "exp", "iat", "sub"])
def test_id_token_without_a_required_claim_is_refused(
    console: TestClient, provider: LocalProvider, name: str
) -> None:
    key = signing_key("k1")
    provider.keys = [key]
    provider.issue = lambda claims: signed({each: value for each, value in claims.items() if each != name}, key)
    assert sign_in(console, provider, MANAGER).status_code == 401 and not is_signed_in(console)


def test_token_of_several_audiences_must_name_the_console_as_its_party(
    console: TestClient, provider: LocalProvider
) -> None:
    key = signing_key("k1")
    provider.keys = [key]
    provider.issue = lambda claims: signed(claims | {"aud": ["walras", "shop"]}, key)
    assert sign_in(console, provider, MANAGER).status_code == 401
    provider.issue = lambda claims: signed(claims | {"aud": ["walras", "shop"], "azp": "walras"}, key)
    assert sign_in(console, provider, MANAGER).status_code == 200


def test_rotated_key_is_fetched_and_a_withdrawn_one_refused(
    console: TestClient, provider: LocalProvider, wall: Wall
) -> None:
    old, new = signing_key("old"), signing_key("new")
    provider.keys, provider.issue = [old], lambda claims: signed(claims, old)
    assert sign_in(console, provider, MANAGER).status_code == 200
    provider.keys, provider.issue = [old, new], lambda claims: signed(claims, new)
    assert sign_in(console, provider, MANAGER).status_code == 200
    assert provider.requests.count(KEYS) == 2
    provider.keys, provider.issue = [new], lambda claims: signed(claims | {"exp": 2 * claims["exp"]}, old)
    wall.past_ms += KEPT_MS
    assert sign_in(console, provider, MANAGER).status_code == 401


def test_keys_of_unknown_kinds_do_not_spoil_the_set(console: TestClient, provider: LocalProvider) -> None:
    strange = [{"kty": "AKP", "alg": "ML-DSA-44"}, {"kty": "EC", "crv": "none", "x": "", "y": ""}, "text"]
    provider.change[KEYS] = lambda content: {"keys": strange + content["keys"]}
    key = signing_key("k1")
    provider.keys, provider.issue = [key], lambda claims: signed(claims, key)
    assert sign_in(console, provider, MANAGER).status_code == 200


@pytest.mark.parametrize(("path", "name"), [(KEYS, "jwks_uri"), (TOKEN, "token_endpoint")])
def test_provider_that_fails_or_is_away_gives_a_page_and_keys_still_sign_in(
    console: TestClient, provider: LocalProvider, wall: Wall, path: str, name: str
) -> None:
    provider.status = {path: 500}
    failed = sign_in(console, provider, MANAGER)
    provider.status, provider.change = {}, {DISCOVERY: lambda content: content | {name: "http://localhost:1/"}}
    wall.past_ms += KEPT_MS
    away = sign_in(console, provider, MANAGER)
    assert (failed.status_code, away.status_code) == (502, 503)
    assert "access key works" in failed.text and "access key works" in away.text and "<form" in away.text
    assert console.post("/sign-in", data={"key": texts["reader"]}).status_code == 303 and is_signed_in(console)


def test_provider_that_hangs_gives_a_page(open_port: Opens, provider: LocalProvider) -> None:
    provider.hangs = {DISCOVERY}
    with open_port(SITE, **options(provider, oidc_timeout_s=0.2)) as console:
        reply = console.get("/sign-in/provider")
    assert reply.status_code == 503 and "access key works" in reply.text


def test_provider_that_is_stopped_gives_a_page(open_port: Opens) -> None:
    with LocalProvider().serving() as stopped:
        pass
    with open_port(SITE, **options(stopped)) as console:
        assert console.get("/sign-in/provider").status_code == 503


def test_provider_that_fails_is_asked_again_after_a_pause(
    console: TestClient, provider: LocalProvider, wall: Wall
) -> None:
    provider.status = {DISCOVERY: 500}
    assert [console.get("/sign-in/provider").status_code for _ in range(3)] == [502] * 3
    assert provider.requests.count(DISCOVERY) == 1
    wall.past_ms += RETRY_MS
    assert console.get("/sign-in/provider").status_code == 502
    assert provider.requests.count(DISCOVERY) == 2


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (DISCOVERY, {"issuer": "http://localhost:1"}),
        (DISCOVERY, {"token_endpoint": "http://elsewhere.example/token"}),
        (DISCOVERY, {"authorization_endpoint": "javascript:alert(1)"}),
        (DISCOVERY, {"jwks_uri": None}),
        (DISCOVERY, {"id_token_signing_alg_values_supported": ["HS256", "none"]}),
        (DISCOVERY, {"authorization_response_iss_parameter_supported": True}),
        (KEYS, {"keys": "none"}),
        (KEYS, {"keys": []}),
        (KEYS, {"keys": [7, {"kty": "oct", "k": "a"}, {"kty": "EC", "crv": "none"}]}),
        (DISCOVERY, {"id_token_signing_alg_values_supported": "PS256", "jwks_uri": 7}),
        (TOKEN, {"id_token": None}),
        (TOKEN, {"id_token": "a.b.c"}),
        (TOKEN, {"padding": "x" * (1 << 20)}),
    ],
)
def test_unusable_answer_signs_no_one_in(
    console: TestClient, provider: LocalProvider, path: str, wrong: dict[str, Any]
) -> None:
    provider.change[path] = lambda content: content | wrong
    reply = console.get("/sign-in/provider")
    if reply.status_code == 303:
        reply = console.get(provider.answer(reply.headers["location"], MANAGER))
    assert reply.status_code in (401, 502) and "<form" in reply.text and not is_signed_in(console)


def test_no_accepted_algorithm_is_symmetric() -> None:
    assert not any(name == "none" or name.startswith("HS") for name in id_tokens.ALGORITHMS)
    assert claims_of(segments({"alg": "none"}, {"a": 1})) == {"a": 1}
    assert not may(Role.QUOTES, Permission.READ)
