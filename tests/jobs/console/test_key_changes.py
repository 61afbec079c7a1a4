"""Keys changed at the operator port, with the real topic on librdkafka's mock broker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra.reports.waiting import until
from jobs.access import KeyRing
from jobs.access.signatures import Signer
from jobs.connectors.kafka import access_keys
from jobs.connectors.kafka.access_keys import RingFile, issue, new_ring, read_ring
from jobs.console import service
from jobs.console.market_view import MarketView
from jobs.console.service import build
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import bearer, keys
from tests.jobs.console.port_builders import BODIES, ask

CLOSED = "127.0.0.1:1"
CHANGES = ["/v1/keys/{key_id}/rotate", "/v1/keys/{key_id}/revoke", "/v1/keys/{key_id}/kind"]


@pytest.fixture
def settings(tmp_path: Path, redis_server: Any, broker: str) -> Settings:
    """Settings of a deployment with a signing key and a broker."""
    signer = Signer.create(tmp_path / "run" / "commands.pem")
    values: dict[str, Any] = {"redis": redis_server.url, "home": tmp_path, "command_key": signer.public_key}
    return Settings(kafka=broker, **values)


@contextlib.contextmanager
def opened(settings: Settings, **options: Any) -> Iterator[TestClient]:
    """Open an operator port, by default with a view of the market that follows the same broker."""
    app = build(settings, view=MarketView(settings.kafka), **options)
    with TestClient(app, base_url="http://walras", follow_redirects=False) as client:
        yield client


def signed_in(port: TestClient, text: str) -> bool:
    return port.post("/sign-in", data={"key": text}).status_code == 303


def key_of(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_session_ends_within_a_second_of_a_change_of_its_key(settings: Settings, action: str) -> None:
    admin, _ = issue(settings, "ann", "admin", "", 1.0)
    leaked, record = issue(settings, "eve", "reader", "acme", 1.0)
    with opened(settings) as port:
        until("the keys are read", lambda: signed_in(port, leaked), 20)
        assert port.get("/v1/session").json()["author"] == "eve"
        assert port.post(f"/v1/keys/{record.key_id}/{action}", headers=key_of(admin)).status_code == 200
        until("the session has ended", lambda: port.get("/v1/session").status_code == 401, 1.0)
        assert not signed_in(port, leaked)


def test_session_outlasts_a_change_of_its_keys_kind(settings: Settings) -> None:
    text, record = issue(settings, "ann", "admin", "", 1.0)
    with opened(settings) as port:
        until("the keys are read", lambda: signed_in(port, text), 20)
        reply = port.post(f"/v1/keys/{record.key_id}/kind", json={"kind": "backend"}, headers=key_of(text))
        assert reply.status_code == 200

        def kind() -> Any:
            [listed] = port.get("/v1/keys").json()
            return listed["kind"]

        until("the kind is known", lambda: kind() == "backend", 20)
        assert port.get("/v1/session").status_code == 200


def test_keys_are_saved_for_a_start_without_kafka(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SAVE_KEYS_EVERY_S", 0.05)
    text, _ = issue(settings, "ann", "reader", "acme", 1.0)
    with opened(settings):
        until("the keys are saved", (settings.keys_folder / "ring.json").exists, 20)
    with opened(settings.model_copy(update={"kafka": CLOSED})) as port:
        assert port.get("/v1/session", headers=key_of(text)).json()["author"] == "ann"
    assert [path.name for path in settings.keys_folder.iterdir()] == ["ring.json"]


def test_revocation_in_the_file_outlasts_the_older_record_of_the_topic(settings: Settings) -> None:
    text, record = issue(settings, "ann", "reader", "acme", 1.0)
    other, _ = issue(settings, "bob", "reader", "acme", 1.0)
    ring = read_ring(settings)
    [issued] = [each for each in ring.records() if each.key_id == record.key_id]
    access_keys.revoke(settings, record.key_id)
    RingFile(settings.keys_folder / "ring.json").save(read_ring(settings))
    access_keys.publish_key(settings, issued)
    with opened(settings) as port:
        until("the keys are read", lambda: signed_in(port, other), 20)
        assert port.get("/v1/session", headers=key_of(text)).status_code == 401


@pytest.mark.parametrize("path", CHANGES)
def test_change_without_kafka_is_refused_with_the_time_to_repeat_it(
    settings: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "ANSWER_S", 0.1)
    away = settings.model_copy(update={"kafka": CLOSED})
    with opened(away, follow=False, ring=KeyRing(keys.values())) as port:
        reply = ask(port, "POST", path, bearer("admin"))
    assert reply.status_code == 503 and reply.headers["retry-after"] == "5"
    assert reply.headers["content-type"] == "application/problem+json"
    assert "nothing was changed" in reply.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/commands", "/v1/keys", *CHANGES])
@pytest.mark.parametrize("key", ["missing", "of another deployment"])
def test_port_without_the_deployments_signing_key_warns_and_sends_nothing(
    settings: Settings, path: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(keys.values())
    for name in ("shop", "reader"):
        access_keys.publish_key(settings, keys[name])
    before = read_ring(settings).records()
    settings.signing_key_file.unlink()
    if key == "of another deployment":
        Signer.create(settings.signing_key_file)
    with opened(settings, follow=False, ring=ring) as port:
        reply = ask(port, "POST", path, bearer("admin"))
    assert reply.status_code == 503 and reply.headers["content-type"] == "application/problem+json"
    assert "this port cannot sign, nothing was sent" in reply.json()["detail"]
    assert "commands.pem: expected" in caplog.text and read_ring(settings).records() == before


@pytest.mark.parametrize("tenant", ["*", ""])
def test_key_for_every_tenant_is_stated_and_issued_by_an_administrator_of_all(
    settings: Settings, tenant: str
) -> None:
    body = BODIES["/v1/keys"] | {"tenant": tenant}
    with opened(settings, follow=False, ring=KeyRing(keys.values())) as port:
        assert port.post("/v1/keys", json=body, headers=bearer("tenant admin")).status_code == 403
        issued = port.post("/v1/keys", json=body, headers=bearer("admin"))
        assert issued.status_code == 201
        unstated = {name: value for name, value in body.items() if name != "tenant"}
        refused = port.post("/v1/keys", json=unstated, headers=bearer("admin"))
        assert refused.status_code == 422 and "tenant" in refused.json()["detail"]
        assert "tenant" in port.app.openapi()["components"]["schemas"]["KeyBody"]["required"]  # type: ignore[attr-defined]
    assert [(each.author, each.tenant) for each in read_ring(settings).records()] == [("eve", "")]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"CONSOLE_PORT": "many"}, "console_port"),
        ({}, "console: WALRAS_COMMAND_KEY: expected the public key"),
        ({"CLOCK": "sim:0:0:60"}, "console: WALRAS_COMMAND_KEY: expected the public key"),
    ],
)
def test_wrong_start_names_the_setting(
    values: dict[str, str],
    problem: str,
    clean_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in ({"HOME": str(tmp_path), "KAFKA": CLOSED} | values).items():
        clean_environment.setenv(f"WALRAS_{name}", value)
    assert service.main() == 2
    assert problem in capsys.readouterr().err


def test_ring_of_a_deployment_ignores_records_of_another(settings: Settings) -> None:
    ring = new_ring(settings)
    for record in keys.values():
        ring.take(record)
    assert ring.records() == []
