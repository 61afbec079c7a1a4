"""Both OpenAPI documents under generated requests: no server error, and every reply is as the document says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.access import KeyRing
from jobs.connectors.kafka import access_keys
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.console import operator_api, page
from jobs.console.service import build as build_console
from jobs.edge.service import build as build_edge
from jobs.monitoring.component import ComponentHealth
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import keys, texts
from tests.jobs.edge.edge_builders import KEY, a_table
from tests.jobs.edge.test_tls import served

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.parametrize("build", [build_edge, build_console], ids=["quote port", "operator port"])
def test_replies_to_generated_requests_conform(
    build: Any, redis_server: Any, tables: RedisPriceTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.publish(a_table())
    # Kafka alone is missing here: what the routes would write is not sent.
    monkeypatch.setattr(operator_api, "publish_command", lambda *_: None)
    monkeypatch.setattr(access_keys, "publish_key", lambda *_: None)
    monkeypatch.setattr(page, "component_health", lambda *_: [ComponentHealth("broker", True, "25 topics")])
    monkeypatch.setattr(access_keys, "read_ring", lambda _: KeyRing(keys.values()))
    values: dict[str, Any] = {"redis": redis_server.url, "edge_secret": KEY, "home": tmp_path}
    settings = Settings(kafka="127.0.0.1:1", edge_key_per_second=10**6, edge_address_per_second=10**6, **values)
    with served(build(settings, follow=False, ring=KeyRing(keys.values())), settings) as port:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/v1/openapi.json",
            "--header", f"Authorization: Bearer {texts['admin']}", "--checks", CHECKS, "--max-examples", "25",
            "--seed", "1", "--no-color", "--generation-database", "none",
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
