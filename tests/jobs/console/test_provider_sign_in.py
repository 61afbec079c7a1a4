"""Sign-in by a provider: the whole flow against a real one on loopback, paths by role and tenant, sessions."""

from __future__ import annotations

import base64
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from jobs.access.claims import ClaimRolesError
from jobs.access.roles import may
from jobs.access.sessions import ABSOLUTE_MS, IDLE_MS
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import TENANT, bearer, keys
from tests.jobs.console.conftest import Opens
from tests.jobs.console.local_provider import (
    AUTHORIZE,
    DISCOVERY,
    KEYS,
    TOKEN,
    LocalProvider,
    segments,
)
from tests.jobs.console.port_builders import BODIES, BY_PROVIDER, ENDPOINTS, ask, known_routes, routes_of
from tests.jobs.console.provider_builders import (
    MANAGER,
    PEOPLE,
    SECRET,
    SITE,
    Wall,
    begin,
    is_signed_in,
    options,
    sign_in,
)


def test_user_of_a_mapped_group_is_signed_in_with_its_role_and_tenant(
    console: TestClient, provider: LocalProvider, sent: list[Any]
) -> None:
    assert "Sign in with Acme &lt;login&gt;" in console.get("/sign-in").text
    page = begin(console)
    asked = {name: value for name, [value] in parse_qs(urlsplit(page).query).items()}
    assert page.startswith(provider.issuer + AUTHORIZE)
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{SITE}/sign-in/callback" and asked["scope"] == "openid"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    reply = console.get(provider.answer(page, MANAGER))
    cookies = reply.headers.get_list("set-cookie")
    [session] = [text for text in cookies if text.startswith("__Host-walras=")]
    assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(session.split("; "))
    assert reply.status_code == 200 and '<a href="/">' in reply.text
    found = console.get("/v1/session").json()
    assert (found["author"], found["role"], found["tenant"]) == (MANAGER, "pricing_manager", TENANT)
    body = BODIES["/v1/commands"]
    assert console.post("/v1/commands", json=body).status_code == 403
    assert console.post("/v1/commands", json=body, headers={"x-csrf-token": found["csrf"]}).status_code == 202
    [(command, role)] = sent
    assert (command.operator, role, command.tenant) == (MANAGER, "pricing_manager", TENANT)
    assert (
        provider.requests.count(TOKEN) == provider.requests.count(DISCOVERY) == provider.requests.count(KEYS) == 1
    )


@pytest.mark.parametrize("sub", PEOPLE)
def test_every_path_answers_the_roles_and_tenants_of_the_claims(
    console: TestClient, provider: LocalProvider, sub: str
) -> None:
    role, tenant = PEOPLE[sub]
    sign_in(console, provider, sub)
    headers = {"x-csrf-token": console.get("/v1/session").json()["csrf"]}
    for method, path, permission, of in ENDPOINTS:
        status = ask(console, method, path, headers).status_code
        if not may(role, permission):
            assert status == 403, path
        elif of is not None and tenant not in ("*", of):
            assert status in (403, 404), path
        else:
            assert status < 300, (path, status)
    assert not is_signed_in(console), "signing out is the last path of the table"


def test_table_of_paths_is_complete_with_a_provider(console: TestClient) -> None:
    assert routes_of(console.app) == known_routes() | set(BY_PROVIDER)


@pytest.mark.parametrize(("request_line", "status"), BY_PROVIDER.items())
def test_paths_of_the_provider_answer_all_the_same(
    console: TestClient, request_line: tuple[str, str], status: int
) -> None:
    found = {name: ask(console, *request_line, bearer(name)).status_code for name in keys}
    assert set(found.values()) == {status}


def test_without_a_provider_there_is_no_button_and_no_path(open_port: Opens) -> None:
    with open_port() as console:
        assert "Sign in with" not in console.get("/sign-in").text
        assert routes_of(console.app) == known_routes()
        assert {ask(console, *line, {}).status_code for line in BY_PROVIDER} == {404}


def test_user_without_a_mapped_group_learns_what_was_expected(
    console: TestClient, provider: LocalProvider
) -> None:
    provider.add("markup", groups=["<b>"])
    provider.add("none")
    for sub, got in (
        ("stranger", "&#x27;interns&#x27;"),
        ("markup", "&#x27;&lt;b&gt;&#x27;"),
        ("none", "no value"),
    ):
        reply = sign_in(console, provider, sub)
        assert reply.status_code == 403 and f"got {got}" in reply.text
        assert "groups" in reply.text and MANAGER in reply.text and not is_signed_in(console)


def test_answer_of_another_attempt_or_browser_is_refused(console: TestClient, provider: LocalProvider) -> None:
    back = provider.answer(begin(console), MANAGER)
    for wrong in (
        back.replace("state=", "state=x"),
        back.split("&state")[0].split("?")[0] + "?code=c",
        back + "x",
    ):
        assert console.get(wrong).status_code == 400
    attempt = dict(console.cookies)
    console.cookies.clear()
    assert console.get(back).status_code == 400, "another browser"
    assert provider.requests.count(TOKEN) == 0 and not is_signed_in(console)
    begin(console)
    assert console.get(back).status_code == 400, "an earlier attempt of this browser"
    console.cookies.clear()
    console.cookies.update(attempt)
    assert console.get(back).status_code == 200


def test_code_signs_in_once(console: TestClient, provider: LocalProvider) -> None:
    back = provider.answer(begin(console), MANAGER)
    attempt = dict(console.cookies)
    assert console.get(back).status_code == 200
    console.cookies.clear()
    assert console.get(back).status_code == 400, "the attempt's cookie is gone"
    console.cookies.update(attempt)
    assert console.get(back).status_code == 401 and not is_signed_in(console)


def test_code_of_another_attempt_is_refused_for_its_verifier(console: TestClient, provider: LocalProvider) -> None:
    stolen = parse_qs(urlsplit(provider.answer(begin(console), f"admin-{TENANT}")).query)["code"][0]
    own = provider.answer(begin(console), "stranger")
    code = parse_qs(urlsplit(own).query)["code"][0]
    assert console.get(own.replace(code, stolen)).status_code == 401 and not is_signed_in(console)


def test_user_who_declines_gets_a_page(console: TestClient, provider: LocalProvider) -> None:
    page = begin(console)
    state = parse_qs(urlsplit(page).query)["state"][0]
    reply = console.get(f"/sign-in/callback?error=access_denied&state={state}")
    assert reply.status_code == 403 and "access_denied" in reply.text
    begin(console)
    assert console.get("/sign-in/callback?error=access_denied&state=guess").status_code == 400


def test_session_ends_when_idle_when_old_and_at_sign_out(
    console: TestClient, provider: LocalProvider, wall: Wall
) -> None:
    sign_in(console, provider, MANAGER)
    wall.past_ms += IDLE_MS
    assert not is_signed_in(console)
    sign_in(console, provider, MANAGER)
    for _ in range(2 * ABSOLUTE_MS // IDLE_MS - 1):
        wall.past_ms += IDLE_MS // 2
        assert is_signed_in(console)
    wall.past_ms += IDLE_MS // 2
    assert not is_signed_in(console)
    wall.past_ms = 0
    sign_in(console, provider, MANAGER)
    csrf = {"x-csrf-token": console.get("/v1/session").json()["csrf"]}
    cookie = dict(console.cookies)
    assert console.post("/sign-out").status_code == 403
    assert console.post("/sign-out", headers=csrf).status_code == 204
    console.cookies.update(cookie)
    assert not is_signed_in(console)


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
    with open_port(SITE, **given) as console:
        for _ in range(2):
            status = sign_in(console, provider, "ann").status_code
            assert status == (403 if author is None else 200)
            found.add(console.get("/v1/session").json().get("author"))
    [name] = found
    assert name is None if author is None else name.startswith(author)


@pytest.mark.parametrize(("secret", "method"), [(None, "none"), (SECRET, "client_secret_post")])
def test_client_without_a_secret_or_with_one_in_the_body_signs_in(
    open_port: Opens, provider: LocalProvider, secret: str | None, method: str
) -> None:
    provider.change[DISCOVERY] = lambda content: content | {"token_endpoint_auth_methods_supported": [method]}
    with open_port(SITE, **options(provider, oidc_client_secret=secret)) as console:
        assert sign_in(console, provider, MANAGER).status_code == 200
    assert provider.clients == [("walras", secret)]


def test_nothing_secret_is_logged(
    console: TestClient, provider: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sign_in(console, provider, MANAGER)
    cookies = [value for value in console.cookies.values() if value]
    provider.issue = lambda claims: segments({"alg": "none"}, claims) + "."
    begin(console)
    sign_in(console, provider, MANAGER)
    provider.status = {TOKEN: 400}
    sign_in(console, provider, f"reader-{TENANT}")
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
