"""Sign-in by a provider: the whole flow against a real one on loopback, and every answer that must be refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient

from jobs.access import Permission, Role
from jobs.access.claims import ClaimRolesError
from jobs.access.roles import may
from jobs.access.sessions import ABSOLUTE_MS, IDLE_MS
from jobs.connectors.openid import id_tokens
from jobs.connectors.openid.provider import KEPT_MS, RETRY_MS
from jobs.console import service
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import OTHER, TENANT, bearer, keys, texts
from tests.jobs.console.conftest import Opens
from tests.jobs.console.local_provider import (
    AUTHORIZE,
    DISCOVERY,
    KEYS,
    TOKEN,
    LocalProvider,
    claims_of,
    segments,
    signed,
    signing_key,
)
from tests.jobs.console.port_builders import BODIES, BY_PROVIDER, ENDPOINTS, ask, known_routes, routes_of

SITE = "https://prices.example.org"
READERS = (Role.READER, Role.ANALYST, Role.PRICING_MANAGER, Role.ADMIN)
PEOPLE = {f"{role}-{tenant}": (role, tenant) for role in READERS for tenant in (TENANT, OTHER, "*")}
"""Users of the provider, each in the group of their own name → role and tenant."""
ROLES = "; ".join(f"{name}={role}@{tenant}" for name, (role, tenant) in PEOPLE.items())
MANAGER = f"pricing_manager-{TENANT}"
SECRET = "client-secret-of-the-console"
WRONG_PARTS = ("iss", "aud", "nonce", "exp", "iat", "sub", "azp", "at_hash", "key", "alg none", "alg HS256")


class Wall:
    """A wall clock that a test sets; it starts at the machine's time, by which the provider issues tokens."""

    def __init__(self) -> None:
        self.past_ms = 0

    def __call__(self) -> int:
        return self._real() + self.past_ms

    _real = staticmethod(service.wall_ms)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider().serving() as found:
        for name in PEOPLE:
            found.add(name, groups=["staff", name], email=f"{name}@example.org")
        found.add("stranger", groups=["interns"])
        yield found


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    clock = Wall()
    monkeypatch.setattr(service, "wall_ms", clock)
    return clock


def options(provider: LocalProvider, **changed: Any) -> dict[str, Any]:
    return {
        "console_url": SITE, "oidc_issuer": provider.issuer, "oidc_client_id": "walras", "oidc_roles": ROLES,
        "oidc_client_secret": SecretStr(SECRET), "oidc_name": "Acme <login>",
    } | changed  # fmt: skip


@pytest.fixture
def port(open_port: Opens, provider: LocalProvider, wall: Wall) -> Iterator[TestClient]:
    with open_port(SITE, **options(provider)) as client:
        yield client


def begin(port: TestClient) -> str:
    """Return the provider's page to which the console sends the browser."""
    reply = port.get("/sign-in/provider")
    assert reply.status_code == 303, reply.text
    return reply.headers["location"]


def sign_in(port: TestClient, provider: LocalProvider, sub: str) -> Any:
    return port.get(provider.answer(begin(port), sub))


def is_signed_in(port: TestClient) -> bool:
    return port.get("/v1/session").status_code == 200


def test_user_of_a_mapped_group_is_signed_in_with_its_role_and_tenant(
    port: TestClient, provider: LocalProvider, sent: list[Any]
) -> None:
    assert "Sign in with Acme &lt;login&gt;" in port.get("/sign-in").text
    page = begin(port)
    asked = {name: value for name, [value] in parse_qs(urlsplit(page).query).items()}
    assert page.startswith(provider.issuer + AUTHORIZE)
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{SITE}/sign-in/callback" and asked["scope"] == "openid"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    reply = port.get(provider.answer(page, MANAGER))
    cookies = reply.headers.get_list("set-cookie")
    [session] = [text for text in cookies if text.startswith("__Host-walras=")]
    assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(session.split("; "))
    assert reply.status_code == 200 and '<a href="/">' in reply.text
    found = port.get("/v1/session").json()
    assert (found["author"], found["role"], found["tenant"]) == (MANAGER, "pricing_manager", TENANT)
    body = BODIES["/v1/commands"]
    assert port.post("/v1/commands", json=body).status_code == 403
    assert port.post("/v1/commands", json=body, headers={"x-csrf-token": found["csrf"]}).status_code == 202
    [(command, role)] = sent
    assert (command.operator, role, command.tenant) == (MANAGER, "pricing_manager", TENANT)
    assert (
        provider.requests.count(TOKEN) == provider.requests.count(DISCOVERY) == provider.requests.count(KEYS) == 1
    )


@pytest.mark.parametrize("sub", PEOPLE)
def test_every_path_answers_the_roles_and_tenants_of_the_claims(
    port: TestClient, provider: LocalProvider, sub: str
) -> None:
    role, tenant = PEOPLE[sub]
    sign_in(port, provider, sub)
    headers = {"x-csrf-token": port.get("/v1/session").json()["csrf"]}
    for method, path, permission, of in ENDPOINTS:
        status = ask(port, method, path, headers).status_code
        if not may(role, permission):
            assert status == 403, path
        elif of is not None and tenant not in ("*", of):
            assert status in (403, 404), path
        else:
            assert status < 300, (path, status)
    assert not is_signed_in(port), "signing out is the last path of the table"


def test_table_of_paths_is_complete_with_a_provider(port: TestClient) -> None:
    assert routes_of(port.app) == known_routes() | set(BY_PROVIDER)


@pytest.mark.parametrize(("request_line", "status"), BY_PROVIDER.items())
def test_paths_of_the_provider_answer_all_the_same(
    port: TestClient, request_line: tuple[str, str], status: int
) -> None:
    found = {name: ask(port, *request_line, bearer(name)).status_code for name in keys}
    assert set(found.values()) == {status}


def test_without_a_provider_there_is_no_button_and_no_path(open_port: Opens) -> None:
    with open_port() as port:
        assert "Sign in with" not in port.get("/sign-in").text
        assert routes_of(port.app) == known_routes()
        assert {ask(port, *line, {}).status_code for line in BY_PROVIDER} == {404}


def test_user_without_a_mapped_group_learns_what_was_expected(port: TestClient, provider: LocalProvider) -> None:
    provider.add("markup", groups=["<b>"])
    provider.add("none")
    for sub, got in (
        ("stranger", "&#x27;interns&#x27;"),
        ("markup", "&#x27;&lt;b&gt;&#x27;"),
        ("none", "no value"),
    ):
        reply = sign_in(port, provider, sub)
        assert reply.status_code == 403 and f"got {got}" in reply.text
        assert "groups" in reply.text and MANAGER in reply.text and not is_signed_in(port)


def test_answer_of_another_attempt_or_browser_is_refused(port: TestClient, provider: LocalProvider) -> None:
    back = provider.answer(begin(port), MANAGER)
    for wrong in (
        back.replace("state=", "state=x"),
        back.split("&state")[0].split("?")[0] + "?code=c",
        back + "x",
    ):
        assert port.get(wrong).status_code == 400
    attempt = dict(port.cookies)
    port.cookies.clear()
    assert port.get(back).status_code == 400, "another browser"
    assert provider.requests.count(TOKEN) == 0 and not is_signed_in(port)
    begin(port)
    assert port.get(back).status_code == 400, "an earlier attempt of this browser"
    port.cookies.clear()
    port.cookies.update(attempt)
    assert port.get(back).status_code == 200


def test_code_signs_in_once(port: TestClient, provider: LocalProvider) -> None:
    back = provider.answer(begin(port), MANAGER)
    attempt = dict(port.cookies)
    assert port.get(back).status_code == 200
    port.cookies.clear()
    assert port.get(back).status_code == 400, "the attempt's cookie is gone"
    port.cookies.update(attempt)
    assert port.get(back).status_code == 401 and not is_signed_in(port)


def test_code_of_another_attempt_is_refused_for_its_verifier(port: TestClient, provider: LocalProvider) -> None:
    stolen = parse_qs(urlsplit(provider.answer(begin(port), f"admin-{TENANT}")).query)["code"][0]
    own = provider.answer(begin(port), "stranger")
    code = parse_qs(urlsplit(own).query)["code"][0]
    assert port.get(own.replace(code, stolen)).status_code == 401 and not is_signed_in(port)


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
def test_id_token_with_a_wrong_part_is_refused(port: TestClient, provider: LocalProvider, part: str) -> None:
    key = signing_key("k1")
    provider.keys = [key]
    # The second key has the id of the first: the signature is wrong, not the id alone.
    provider.issue = forged(part, key, signing_key("k1", 1))
    reply = sign_in(port, provider, MANAGER)
    assert reply.status_code == 401 and not is_signed_in(port)
    assert "__Host-walras=" not in str(reply.headers.get_list("set-cookie"))
    provider.issue = lambda claims: signed(claims, key)
    assert sign_in(port, provider, MANAGER).status_code == 200, "the same token without the wrong part"


@pytest.mark.parametrize("name", ["iss", "aud", "nonce", "exp", "iat", "sub"])
def test_id_token_without_a_required_claim_is_refused(
    port: TestClient, provider: LocalProvider, name: str
) -> None:
    key = signing_key("k1")
    provider.keys = [key]
    provider.issue = lambda claims: signed({each: value for each, value in claims.items() if each != name}, key)
    assert sign_in(port, provider, MANAGER).status_code == 401 and not is_signed_in(port)


def test_token_of_several_audiences_must_name_the_console_as_its_party(
    port: TestClient, provider: LocalProvider
) -> None:
    key = signing_key("k1")
    provider.keys = [key]
    provider.issue = lambda claims: signed(claims | {"aud": ["walras", "shop"]}, key)
    assert sign_in(port, provider, MANAGER).status_code == 401
    provider.issue = lambda claims: signed(claims | {"aud": ["walras", "shop"], "azp": "walras"}, key)
    assert sign_in(port, provider, MANAGER).status_code == 200


def test_rotated_key_is_fetched_and_a_withdrawn_one_refused(
    port: TestClient, provider: LocalProvider, wall: Wall
) -> None:
    old, new = signing_key("old"), signing_key("new")
    provider.keys, provider.issue = [old], lambda claims: signed(claims, old)
    assert sign_in(port, provider, MANAGER).status_code == 200
    provider.keys, provider.issue = [old, new], lambda claims: signed(claims, new)
    assert sign_in(port, provider, MANAGER).status_code == 200
    assert provider.requests.count(KEYS) == 2
    provider.keys, provider.issue = [new], lambda claims: signed(claims | {"exp": 2 * claims["exp"]}, old)
    wall.past_ms += KEPT_MS
    assert sign_in(port, provider, MANAGER).status_code == 401


@pytest.mark.parametrize(("path", "name"), [(KEYS, "jwks_uri"), (TOKEN, "token_endpoint")])
def test_provider_that_fails_or_is_away_gives_a_page_and_keys_still_sign_in(
    port: TestClient, provider: LocalProvider, wall: Wall, path: str, name: str
) -> None:
    provider.status = {path: 500}
    failed = sign_in(port, provider, MANAGER)
    provider.status, provider.change = {}, {DISCOVERY: lambda content: content | {name: "http://localhost:1/"}}
    wall.past_ms += KEPT_MS
    away = sign_in(port, provider, MANAGER)
    assert (failed.status_code, away.status_code) == (502, 503)
    assert "access key works" in failed.text and "access key works" in away.text and "<form" in away.text
    assert port.post("/sign-in", data={"key": texts["reader"]}).status_code == 303 and is_signed_in(port)


def test_provider_that_hangs_gives_a_page(open_port: Opens, provider: LocalProvider) -> None:
    provider.hangs = {DISCOVERY}
    with open_port(SITE, **options(provider, oidc_timeout_s=0.2)) as port:
        reply = port.get("/sign-in/provider")
    assert reply.status_code == 503 and "access key works" in reply.text


def test_provider_that_is_stopped_gives_a_page(open_port: Opens) -> None:
    with LocalProvider().serving() as stopped:
        pass
    with open_port(SITE, **options(stopped)) as port:
        assert port.get("/sign-in/provider").status_code == 503


def test_provider_that_fails_is_asked_again_after_a_pause(
    port: TestClient, provider: LocalProvider, wall: Wall
) -> None:
    provider.status = {DISCOVERY: 500}
    assert [port.get("/sign-in/provider").status_code for _ in range(3)] == [502] * 3
    assert provider.requests.count(DISCOVERY) == 1
    wall.past_ms += RETRY_MS
    assert port.get("/sign-in/provider").status_code == 502
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
        (TOKEN, {"id_token": None}),
        (TOKEN, {"id_token": "a.b.c"}),
        (TOKEN, {"padding": "x" * (1 << 20)}),
    ],
)
def test_unusable_answer_signs_no_one_in(
    port: TestClient, provider: LocalProvider, path: str, wrong: dict[str, Any]
) -> None:
    provider.change[path] = lambda content: content | wrong
    reply = port.get("/sign-in/provider")
    if reply.status_code == 303:
        reply = port.get(provider.answer(reply.headers["location"], MANAGER))
    assert reply.status_code in (401, 502) and "<form" in reply.text and not is_signed_in(port)


def test_user_who_declines_gets_a_page(port: TestClient, provider: LocalProvider) -> None:
    page = begin(port)
    state = parse_qs(urlsplit(page).query)["state"][0]
    reply = port.get(f"/sign-in/callback?error=access_denied&state={state}")
    assert reply.status_code == 403 and "access_denied" in reply.text
    begin(port)
    assert port.get("/sign-in/callback?error=access_denied&state=guess").status_code == 400


def test_session_ends_when_idle_when_old_and_at_sign_out(
    port: TestClient, provider: LocalProvider, wall: Wall
) -> None:
    sign_in(port, provider, MANAGER)
    wall.past_ms += IDLE_MS
    assert not is_signed_in(port)
    sign_in(port, provider, MANAGER)
    for _ in range(2 * ABSOLUTE_MS // IDLE_MS - 1):
        wall.past_ms += IDLE_MS // 2
        assert is_signed_in(port)
    wall.past_ms += IDLE_MS // 2
    assert not is_signed_in(port)
    wall.past_ms = 0
    sign_in(port, provider, MANAGER)
    csrf = {"x-csrf-token": port.get("/v1/session").json()["csrf"]}
    cookie = dict(port.cookies)
    assert port.post("/sign-out").status_code == 403
    assert port.post("/sign-out", headers=csrf).status_code == 204
    port.cookies.update(cookie)
    assert not is_signed_in(port)


@pytest.mark.parametrize(
    ("claim", "claims", "author"),
    [
        ("sub", {}, "ann"),
        ("email", {"email": "ann@example.org", "email_verified": True}, "ann@example.org"),
        ("upn", {"upn": "Ann Lee, <Pricing>"}, "user-"),
        ("email", {"email": "ann@example.org", "email_verified": False}, None),
        ("upn", {"upn": " "}, None),
        ("upn", {"upn": 7}, None),
    ],
)
def test_author_is_a_stable_name_from_the_chosen_claim(
    open_port: Opens, provider: LocalProvider, claim: str, claims: dict[str, Any], author: str | None
) -> None:
    provider.add("ann", groups=MANAGER, **claims)
    given = options(provider, oidc_author_claim=claim, oidc_scopes="openid email")
    found = set()
    with open_port(SITE, **given) as port:
        for _ in range(2):
            status = sign_in(port, provider, "ann").status_code
            assert status == (403 if author is None else 200)
            found.add(port.get("/v1/session").json().get("author"))
    [name] = found
    assert name is None if author is None else name.startswith(author)


def test_public_client_without_a_secret_signs_in(open_port: Opens, provider: LocalProvider) -> None:
    with open_port(SITE, **options(provider, oidc_client_secret=None)) as port:
        assert sign_in(port, provider, MANAGER).status_code == 200


def test_nothing_secret_is_logged(
    port: TestClient, provider: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sign_in(port, provider, MANAGER)
    cookies = [value for value in port.cookies.values() if value]
    provider.issue = lambda claims: segments({"alg": "none"}, claims) + "."
    begin(port)
    sign_in(port, provider, MANAGER)
    provider.status = {TOKEN: 400}
    sign_in(port, provider, f"reader-{TENANT}")
    # The browser of this test and the threads of the provider's server log codes and tokens of their own.
    own = [each for each in caplog.records if "process_request_thread" not in str(each.threadName)]
    logged = "\n".join(text for text in (record.getMessage() for record in own) if SITE not in text)
    assert "ID token refused" in logged and len(provider.secrets) > 8
    hidden = provider.secrets | set(cookies) | {SECRET, base64.b64encode(f"walras:{SECRET}".encode()).decode()}
    assert {text for text in hidden if text in logged} == set()
    assert MANAGER not in logged and SECRET not in repr(Settings(**options(provider)))


@pytest.mark.parametrize(
    "roles", ["pricing", "pricing=owner@acme", "shop=quotes@acme", "pricing=reader@", "=reader@acme", " ; "]
)
def test_roles_that_cannot_be_used_are_refused_at_the_start(
    open_port: Opens, provider: LocalProvider, roles: str
) -> None:
    with pytest.raises(ClaimRolesError, match="WALRAS_OIDC_ROLES: expected <value>=<role>@<tenant>"):
        open_port(SITE, **options(provider, oidc_roles=roles)).__enter__()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"oidc_issuer": "http://login.example.org"}, "WALRAS_OIDC_ISSUER"),
        ({"oidc_issuer": ""}, "WALRAS_OIDC_ISSUER"),
        ({"console_url": "http://prices.example.org"}, "WALRAS_CONSOLE_URL"),
        ({"oidc_issuer": "https://login.example.org"}, "WALRAS_OIDC_CLIENT_ID and WALRAS_OIDC_ROLES"),
        ({"oidc_scopes": "email"}, "oidc_scopes"),
    ],
)
def test_incomplete_settings_name_what_is_missing(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(**given)


def test_no_accepted_algorithm_is_symmetric() -> None:
    assert not any(name == "none" or name.startswith("HS") for name in id_tokens.ALGORITHMS)
    assert claims_of(segments({"alg": "none"}, {"a": 1})) == {"a": 1}
    assert not may(Role.QUOTES, Permission.READ)
