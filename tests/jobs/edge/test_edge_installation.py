"""The extra `edge` alone: the wheel in an environment of its own, outside of the sources, on a real Redis."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import jwt
import pytest

from infra.local.bootstrap import uv_variables
from infra.local.wheel import ROOT, SOURCES, build_wheel
from infra.reports.waiting import until
from jobs.access import EVERY_TENANT, KeyRing, Role, issue_key
from jobs.access.signatures import Signer
from jobs.connectors.kafka.access_keys import RingFile, wall_ms
from jobs.connectors.kafka.quote_spool import QuoteSpool
from jobs.connectors.redis.price_tables import RedisPriceTables
from schemas.time_units import DAY_MS
from tests.jobs.edge.edge_builders import KEY, a_table

LOCK = ROOT / "requirements-edge.lock"
ABSENT = {
    "apache-beam", "apache-flink", "duckdb", "fastapi", "feast", "great-expectations", "matplotlib", "numpy",
    "ortools", "pandas", "pyarrow", "river", "scipy", "typer",
}  # fmt: skip
LIST_PACKAGES = "from importlib.metadata import distributions as d; print(*(p.name.lower() for p in d()))"
START_S = 60
"""Wall seconds for a start on a busy machine."""
STOP_S = 45
"""Wall seconds for a stop, which without Kafka waits until the last quotes have failed and are on disk."""


class Edge(NamedTuple):
    """A running edge: its process, address, access keys of a shop and of a reader, and log."""

    process: subprocess.Popen[bytes]
    url: str
    key: str
    reader_key: str
    log: Path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def edge_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which the locked packages and then the wheel were installed."""
    folder = tmp_path_factory.mktemp("edge") / "env"
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    config = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--python", str(python)]
    environment = {**os.environ, **uv_variables(config.stdout, os.environ)}
    subprocess.run([*uv, "--require-hashes", "-r", str(LOCK)], env=environment, check=True)
    # Without an index this fails if the extra needs anything that the lock does not name.
    subprocess.run(
        [*uv, "--offline", "--no-index", f"walras[edge] @ {wheel.as_uri()}"], env=environment, check=True
    )
    return python


@pytest.fixture
def edge(edge_python: Path, redis_server: object, tables: RedisPriceTables, tmp_path: Path) -> Iterator[Edge]:
    """An edge without Kafka, whose keys come from the file and whose prices come from Redis."""
    home, now_ms = tmp_path / "home", wall_ms()
    tables.publish(a_table(expires_ms=now_ms + DAY_MS))
    signer = Signer.create(tmp_path / "commands.pem")
    key, record = issue_key("shop", Role.QUOTES, "acme", now_ms=now_ms, expires_ms=now_ms + DAY_MS)
    reader_key, reader = issue_key("ann", Role.READER, EVERY_TENANT, now_ms=now_ms, expires_ms=now_ms + DAY_MS)
    RingFile(home / "run" / "keys" / "ring.json").save(KeyRing([signer.sign(record), signer.sign(reader)]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "WALRAS_HOME": str(home), "WALRAS_REDIS": redis_server.url, "WALRAS_KAFKA": "127.0.0.1:1",  # type: ignore[attr-defined]
        "WALRAS_EDGE_PORT": str(port), "WALRAS_EDGE_SECRET": KEY, "WALRAS_COMMAND_KEY": signer.public_key,
    }  # fmt: skip
    log = tmp_path / "edge.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(edge_python), "-m", "jobs.edge.service"], cwd=tmp_path, env=settings, stdout=output, stderr=output
        )
        try:
            yield Edge(process, f"http://127.0.0.1:{port}", key, reader_key, log)
        finally:
            process.kill()
            process.wait()


def get(edge: Edge, path: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {edge.reader_key if path == '/healthz' else edge.key}"}
    return httpx.get(edge.url + path, headers=headers, trust_env=False, timeout=10)


def ready(edge: Edge) -> bool:
    try:
        return get(edge, "/readyz").status_code == 200
    except httpx.TransportError:
        assert edge.process.poll() is None, edge.log.read_text()
        return False


def test_wheel_holds_every_file_that_the_code_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = [ROOT / name for name in SOURCES if (ROOT / name).is_dir()]
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert held == files
    assert {"infra/config/policy.yaml", "jobs/console/page.html", "schemas/json/tables.v1.json"} <= held


def test_edge_environment_lacks_the_packages_of_the_jobs(edge_python: Path) -> None:
    listed = subprocess.run([str(edge_python), "-c", LIST_PACKAGES], capture_output=True, text=True, check=True)
    installed = set(listed.stdout.split())
    assert {"walras", "uvicorn", "redis", "confluent-kafka"} <= installed
    assert installed & ABSENT == set()


def test_walras_command_names_the_extra_that_it_needs(edge_python: Path) -> None:
    command = subprocess.run([str(edge_python.with_name("walras")), "status"], capture_output=True, text=True)
    assert (command.returncode, command.stdout) == (2, "")
    assert "expected an environment with the extra `full`" in command.stderr


def test_edge_alone_quotes_from_redis_and_stops_cleanly(edge: Edge, tmp_path: Path) -> None:
    until("the edge is ready", lambda: ready(edge), START_S)

    quote = get(edge, "/v1/quotes/acme/web-us-usd/sku-1?customer=c1").json()
    assert (quote["source"], quote["version"]) == ("table", 1)
    assert quote["price_minor"] in (1999, 2099)
    lock = httpx.post(
        f"{edge.url}/v1/quotes:lock", headers={"authorization": f"Bearer {edge.key}"}, trust_env=False,
        json={"tenant": "acme", "market": "web-us-usd", "sku": "sku-1", "customer": "c1"},
    )  # fmt: skip
    claims = jwt.decode(lock.json()["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 30 * 60
    assert "127.0.0.1:1" in until("the error of Kafka", lambda: get(edge, "/healthz").json()["kafka_error"])

    edge.process.send_signal(signal.SIGTERM)
    assert edge.process.wait(STOP_S) == 0
    assert "Kafka at 127.0.0.1:1 does not answer" in edge.log.read_text()
    assert "Traceback" not in edge.log.read_text()
    assert QuoteSpool(tmp_path / "home" / "run" / "quotes", 1 << 20).size == 2
