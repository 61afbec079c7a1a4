"""An operator port without a broker, whose commands are collected instead of sent; also with a provider."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from jobs.access import KeyRing
from jobs.access.signatures import Signer
from jobs.connectors.kafka.reading import Record
from jobs.console import operator_api, page, service
from jobs.console.market_view import MarketView
from jobs.console.service import build
from jobs.monitoring.component import ComponentHealth
from jobs.runtime.settings import Settings
from schemas.records.operator_events import Command
from schemas.topics import TOPICS
from tests.jobs.access.access_builders import keys
from tests.jobs.console.local_provider import LocalProvider
from tests.jobs.console.provider_builders import PEOPLE, SITE, Wall, options

Opens = Callable[..., contextlib.AbstractContextManager[TestClient]]
TABLE = {
    "tenant": "acme", "market": "web-us-usd", "sku": "sku-1", "version": "1", "default_minor": "1999",
    "currency": "USD", "reason": "EVIDENCE: PUBLISHED", "published_ms": "9000", "expires_ms": "99000",
    "list_minor": "2999", "offer_minor": "", "table_id": "t-1", "decision_id": "d-1",
}  # fmt: skip


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Command, str]]:
    """Commands that reach Kafka; the broker is the one part that is missing here (test_access_on_platform)."""
    found: list[tuple[Command, str]] = []
    monkeypatch.setattr(
        operator_api, "publish_command", lambda settings, command, role: found.append((command, role))
    )
    monkeypatch.setattr(operator_api.access_keys, "publish_key", lambda settings, record: None)
    monkeypatch.setattr(operator_api.access_keys, "read_ring", lambda settings: KeyRing(keys.values()))
    monkeypatch.setattr(page, "component_health", lambda *_: [ComponentHealth("broker", True, "25 topics")])
    return found


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """The deployment's signer; its key is in the state folder of :func:`open_port`."""
    return Signer.create(tmp_path / "run" / "commands.pem")


@pytest.fixture
def open_port(tmp_path: Path, redis_server: Any, sent: list[Any], signer: Signer) -> Opens:
    """Return what opens an operator port with further settings, reached at ``base_url``."""

    @contextlib.contextmanager
    def opens(base_url: str = "http://walras", **options: Any) -> Iterator[TestClient]:
        given = {
            "home": tmp_path, "redis": redis_server.url, "kafka": "127.0.0.1:1", "edge_secret": "k" * 20,
            "command_key": signer.public_key,
        }  # fmt: skip
        view = MarketView("127.0.0.1:1")
        view.take(Record(TOPICS["tables"].topic, 0, 0, 0, None, orjson.dumps(TABLE)))
        app = build(Settings(**given | options), follow=False, ring=KeyRing(keys.values()), view=view)
        with TestClient(app, base_url=base_url, follow_redirects=False) as client:
            yield client

    return opens


@pytest.fixture
def port(open_port: Opens) -> Iterator[TestClient]:
    with open_port() as client:
        yield client


@pytest.fixture(scope="module")
def served() -> Iterator[LocalProvider]:
    with LocalProvider().serving() as found:
        for name in PEOPLE:
            found.add(name, groups=["staff", name], email=f"{name}@example.org")
        found.add("stranger", groups=["interns"])
        yield found


@pytest.fixture
def provider(served: LocalProvider) -> Iterator[LocalProvider]:
    yield served
    served.reset()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    clock = Wall()
    monkeypatch.setattr(service, "wall_ms", clock)
    return clock


@pytest.fixture
def console(open_port: Opens, provider: LocalProvider, wall: Wall) -> Iterator[TestClient]:
    with open_port(SITE, **options(provider)) as client:
        yield client
