"""The operator port: every path by role and tenant, sign-in, sessions, and what the page is allowed to load."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from jobs.access import Permission
from jobs.access.key_files import write_code
from jobs.access.roles import may
from jobs.connectors.kafka.access_keys import wall_ms
from jobs.console import operator_api
from schemas.records.operator_events import Command
from tests.jobs.access.access_builders import TENANT, bearer, keys, texts
from tests.jobs.console.conftest import Opens
from tests.jobs.console.port_builders import BODIES, ENDPOINTS, PUBLIC, ask, known_routes, routes_of


@pytest.mark.parametrize(("method", "path", "permission", "tenant"), ENDPOINTS)
def test_every_path_answers_the_roles_and_tenants_that_may_ask(
    port: TestClient, method: str, path: str, permission: Permission, tenant: str | None
) -> None:
    for name, key in keys.items():
        status = ask(port, method, path, bearer(name)).status_code
        if name in ("expired", "revoked"):
            assert status == 401, name
        elif not may(key.role, permission):
            assert status == 403, name
        elif tenant is not None and key.tenant not in ("", tenant):
            assert status in (403, 404), name
        else:
            assert status < 300, (name, status)
    assert ask(port, method, path, {}).status_code == 401


def test_table_of_paths_is_complete(port: TestClient) -> None:
    assert routes_of(port.app) == known_routes()


@pytest.mark.parametrize(("request_line", "status"), PUBLIC.items())
def test_public_paths_answer_all_the_same(port: TestClient, request_line: tuple[str, str], status: int) -> None:
    found = {name: ask(port, *request_line, bearer(name)).status_code for name in keys}
    assert set(found.values()) == {status} and ask(port, *request_line, {}).status_code == status


def test_ten_thousand_random_tries_open_nothing(port: TestClient, sent: list[Any]) -> None:
    rng = random.Random(5)
    paths = [(method, path, permission, tenant) for method, path, permission, tenant in ENDPOINTS if path != "/"]
    opened = []
    for _ in range(10_000 // 10):
        # Ten wrong presentations of each draw share one request path.
        method, path, _permission, _tenant = rng.choice(paths)
        name = rng.choice(sorted(texts))
        text = texts[name]
        at = rng.randrange(len(text) - 1)
        wrong = [
            text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :], text[:-1], text + "a", text[::-1],
            rng.randbytes(30).hex(), "", "null", "undefined", text.swapcase(), keys[name].digest,
        ]  # fmt: skip
        for given in wrong:
            reply = ask(port, method, path, {"authorization": f"Bearer {given}".strip()})
            if reply.status_code != 401:
                opened.append((method, path, given, reply.status_code))
    assert not opened and not sent


def test_command_has_the_author_and_role_of_its_key(port: TestClient, sent: list[tuple[Command, str]]) -> None:
    reply = ask(port, "POST", "/v1/commands", bearer("manager"))
    assert reply.status_code == 202
    [(command, role)] = sent
    assert (command.operator, role, command.kind, command.tenant) == (
        "manager",
        "pricing_manager",
        "freeze",
        "acme",
    )
    body = BODIES["/v1/commands"]
    for wrong in (body | {"operator": "ann"}, body | {"kind": "guess"}, body | {"price_minor": "much"}):
        refused = port.post("/v1/commands", json=wrong, headers=bearer("manager"))
        assert refused.status_code == 422 and refused.headers["content-type"] == "application/problem+json"
    assert len(sent) == 1


@pytest.mark.parametrize("kind", ["approve", "reject", "manual_price", "sale_target", "rollback"])
@pytest.mark.parametrize(
    "target", [{}, {"market": "web-us-usd"}, {"sku": "sku-1"}, {"market": "web-us-usd", "sku": ""}]
)
def test_command_for_one_listing_without_market_and_sku_is_refused_with_what_was_expected(
    port: TestClient, sent: list[Any], kind: str, target: dict[str, str]
) -> None:
    body = {"kind": kind, "tenant": TENANT, "price_minor": 2100, "units": 5, "decision_id": "d-1"}
    refused = port.post("/v1/commands", json=body | target, headers=bearer("manager"))
    assert refused.status_code == 400 and refused.headers["content-type"] == "application/problem+json"
    assert f"target: expected one listing, by market and SKU, for {kind}" in refused.json()["detail"] and not sent
    whole = body | {"market": "web-us-usd", "sku": "sku-1"}
    assert port.post("/v1/commands", json=whole, headers=bearer("manager")).status_code == 202


def test_issued_key_is_shown_once_and_lists_hold_no_hash(port: TestClient) -> None:
    issued = ask(port, "POST", "/v1/keys", bearer("admin")).json()
    assert issued["key"].startswith("walras_") and issued["key_id"] in issued["key"]
    listed = port.get("/v1/keys", headers=bearer("tenant admin")).json()
    assert {each["tenant"] for each in listed} == {TENANT} and not any("digest" in each for each in listed)
    text = port.get("/v1/keys", headers=bearer("admin")).text
    assert not any(each.digest in text for each in keys.values())


def test_session_by_key_needs_its_token_for_changes_and_ends_at_sign_out(
    port: TestClient, sent: list[Any]
) -> None:
    assert port.get("/", headers={"accept": "text/html"}).headers["location"] == "/sign-in"
    reply = port.post("/sign-in", data={"key": texts["manager"]})
    cookie = reply.headers["set-cookie"].lower()
    assert reply.status_code == 303 and "httponly" in cookie and "samesite=strict" in cookie
    assert port.get("/").status_code == 200
    session = port.get("/v1/session").json()
    assert (session["author"], session["role"]) == ("manager", "pricing_manager")
    body = BODIES["/v1/commands"]
    assert port.post("/v1/commands", json=body).status_code == 403
    assert port.post("/v1/commands", json=body, headers={"x-csrf-token": "guess"}).status_code == 403
    assert port.post("/v1/commands", json=body, headers={"x-csrf-token": session["csrf"]}).status_code == 202
    assert port.post("/sign-out", headers={"x-csrf-token": session["csrf"]}).status_code == 204
    assert port.get("/v1/session").status_code == 401 and len(sent) == 1


def test_two_ports_share_sessions(open_port: Opens) -> None:
    with open_port() as one, open_port() as other:
        one.post("/sign-in", data={"key": texts["manager"]})
        other.cookies.update(one.cookies)
        session = other.get("/v1/session").json()
        assert session == one.get("/v1/session").json() and session["author"] == "manager"
        assert other.post("/sign-out", headers={"x-csrf-token": session["csrf"]}).status_code == 204
        assert one.get("/v1/session").status_code == 401


def test_port_without_a_signing_key_keeps_its_own_sessions(
    open_port: Opens, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run" / "commands.pem").unlink()
    with open_port() as one, open_port() as other:
        one.post("/sign-in", data={"key": texts["reader"]})
        other.cookies.update(one.cookies)
        assert one.get("/v1/session").status_code == 200 and other.get("/v1/session").status_code == 401
    assert "commands.pem: expected the key that signs commands" in caplog.text
    assert not (tmp_path / "run" / "commands.pem").exists()


@pytest.mark.parametrize("name", ["", "guess", "shop", "expired", "revoked"])
def test_sign_in_refuses_keys_that_may_not_read(port: TestClient, name: str) -> None:
    key = texts.get(name, name)
    reply = port.post("/sign-in", data={"key": key})
    assert reply.status_code == 401 and "set-cookie" not in reply.headers and (not key or key not in reply.text)


def test_form_of_another_site_is_refused(port: TestClient) -> None:
    reply = port.post("/sign-in", data={"key": texts["reader"]}, headers={"origin": "http://elsewhere"})
    assert reply.status_code == 403 and "set-cookie" not in reply.headers


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        (dict.fromkeys("abcde", "x"), {}),
        ({"key": "k"}, {"origin": "http://["}),
        ({"key": "k"}, {"origin": "http://[v1"}),
    ],
)
def test_form_that_cannot_be_read_is_refused(
    port: TestClient, form: dict[str, str], headers: dict[str, str]
) -> None:
    reply = port.post("/sign-in", data=form, headers=headers)
    assert reply.status_code == 400 and "Expected a form of at most 4 fields" in reply.text


@pytest.mark.parametrize("field", ["price_minor", "units", "until_ms", "version", "from_ms"])
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_number_beyond_64_bits_is_refused(port: TestClient, field: str, number: int, sent: list[Any]) -> None:
    reply = port.post("/v1/commands", json=BODIES["/v1/commands"] | {field: number}, headers=bearer("manager"))
    assert reply.status_code == 422 and field in reply.json()["detail"] and not sent


@pytest.mark.parametrize(
    "content", [b'{"\\ud800": 1}', b'{"kind": "\\ud800"}', b"\xff", b"[" * 60_000, b"1" * 5_000, b'{"a": NaN}']
)
@pytest.mark.parametrize("path", ["/v1/commands", "/v1/keys"])
def test_strange_body_is_refused_with_a_problem(port: TestClient, path: str, content: bytes) -> None:
    reply = port.post(path, content=content, headers=bearer("admin") | {"content-type": "application/json"})
    assert reply.status_code in (400, 422) and reply.headers["content-type"] == "application/problem+json"


def test_unexpected_failure_is_a_problem_without_details(
    port: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(operator_api, "make_command", fail)
    monkeypatch.setattr(operator_api, "public", fail)
    for method, path in (("POST", "/v1/commands"), ("GET", "/v1/keys")):
        reply = ask(port, method, path, bearer("admin") | {"x-request-id": f"order-{method}"})
        assert reply.status_code == 500 and reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["x-request-id"] == f"order-{method}" and "secret" not in reply.text
        assert reply.json()["instance"] == f"urn:walras:request:order-{method}"
        assert reply.headers["x-content-type-options"] == "nosniff"
        [record] = [record for record in caplog.records if f"order-{method}" in record.getMessage()]
        assert record.exc_info is not None


def test_link_signs_in_once(port: TestClient, tmp_path: Path) -> None:
    code = write_code(tmp_path / "run" / "keys" / "codes", keys["admin"].key_id, wall_ms())
    assert port.get(f"/sign-in?code={code}").status_code == 303
    assert port.get("/v1/session").json()["author"] == "admin"
    port.cookies.clear()
    assert port.get(f"/sign-in?code={code}").status_code == 401


def test_page_uses_no_external_resource(port: TestClient) -> None:
    for path in ("/", "/sign-in"):
        reply = port.get(path, headers=bearer("reader"))
        assert reply.status_code == 200 and "default-src 'none'" in reply.headers["content-security-policy"]
        assert "http://" not in reply.text.replace("http://www.w3.org", "") and "https://" not in reply.text
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_reader_sees_prices_and_no_belief(port: TestClient) -> None:
    summary = port.get("/v1/console/summary", headers=bearer("reader")).json()
    assert summary["health"] and summary["listings"] == 1 and summary["policies"] == [] and summary["rules"] == {}
    shown = port.get("/v1/console/summary", headers=bearer("analyst")).json()["rules"]
    assert shown == {"rules": [], "strategies": [], "never_matched": [], "conflicts": []}
    other = port.get("/v1/listings", headers=bearer("other reader"))
    assert other.json() == []


def test_large_and_endless_bodies_are_refused(port: TestClient) -> None:
    large = port.post("/v1/commands", content=b"x" * 70_000, headers=bearer("manager"))
    assert large.status_code == 413
    chunks = port.post("/v1/commands", content=iter([b"{", b"}"]), headers=bearer("manager"))
    assert chunks.status_code in (411, 413)


def test_description_is_openapi_and_replies_fit_it(port: TestClient) -> None:
    found = port.get("/v1/openapi.json", headers=bearer("admin")).json()
    assert found["openapi"].startswith("3.")
    schemas = found["components"]["schemas"]
    session = port.get("/v1/session", headers=bearer("reader")).json()
    jsonschema.validate(session, schemas["SessionView"])
    issued = ask(port, "POST", "/v1/keys", bearer("admin")).json()
    jsonschema.validate(issued, schemas["IssuedKey"])
    assert all(operation.get("description") for path in found["paths"].values() for operation in path.values())


def test_no_key_or_digest_is_logged(port: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    for (method, path, *_), name in itertools.product(ENDPOINTS, ("admin", "shop", "expired")):
        ask(port, method, path, bearer(name))
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert not any(text in logged for text in texts.values())
