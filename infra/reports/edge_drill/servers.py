"""The servers of the drill: a broker, Redis and edges under supervision, without Flink."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

from infra.local.continuity import fill_redis
from infra.local.errors import PlatformError
from infra.local.machine.ports import pick_ports
from infra.local.parts import PARTS, Part, broker_ready, listens, redis_ready
from infra.local.platform import Platform
from infra.reports.chaos.disturbances import kill
from infra.reports.edge_drill.market import TENANT, publish_tables
from infra.reports.waiting import until
from jobs.access.key_files import ADMIN, read_key
from jobs.access.keys import KeyKind
from jobs.access.roles import Role
from jobs.connectors.kafka.access_keys import issue
from jobs.edge.quote_requests import PREFIX
from jobs.runtime.settings import Settings
from schemas.price_table import PriceTable

EDGE, SECOND, THIRD, LIMITED = "edge", "edge_2", "edge_3", "edge_limited"
LIMIT_PER_SECOND = 200
"""Rate limit of a key at the edge :data:`LIMITED`, of which two cores can send and answer ten times as much."""
KEY_DAYS = 1.0


def edge_parts() -> tuple[Part, ...]:
    """Return the parts of the further edges, each with a free port of its own."""
    ports = pick_ports({SECOND: 0, THIRD: 0, LIMITED: 0})
    limit = {"WALRAS_EDGE_KEY_PER_SECOND": str(LIMIT_PER_SECOND)}
    return tuple(
        Part(
            name, "quote port", lambda _: [sys.executable, "-m", "jobs.edge.service"], listens(name), stage=2,
            environment={"WALRAS_EDGE_PORT": str(port), **(limit if name == LIMITED else {})},
        )
        for name, port in ports.items()
    )  # fmt: skip


def port_settings(parts: tuple[Part, ...]) -> dict[str, str]:
    """Return the ports of edges in the form of ``Platform.up(extra=…)``."""
    return {f"{part.name.upper()}_PORT": part.environment["WALRAS_EDGE_PORT"] for part in parts}


@dataclass
class Servers:
    """What disturbances act on: a platform with a running broker and Redis."""

    platform: Platform

    @property
    def settings(self) -> Settings:
        """Settings of the platform."""
        return self.platform.settings()

    @property
    def redis_url(self) -> str:
        """URL of Redis."""
        return self.platform.env["WALRAS_REDIS"]

    def port(self, edge: str = EDGE) -> int:
        """Return an edge's port."""
        return int(self.platform.env[f"WALRAS_{edge.upper()}_PORT"])

    def process_id(self, edge: str = EDGE) -> int:
        """Return an edge's process id; 0 when it does not run."""
        return next(iter(self.platform.pids(edge)), 0)

    def start_edge(self, edge: str = EDGE) -> None:
        """Start an edge and wait until it is ready."""
        self.platform.start(edge)
        self.wait_until_ready(edge)

    def wait_until_ready(self, edge: str = EDGE, timeout_s: float = 60.0) -> None:
        """Wait until an edge reads Redis and knows the deployment's keys."""
        until(f"{edge} is ready", lambda: self._get(edge, "/readyz")["status"] == "ok", timeout_s)

    def health(self, edge: str = EDGE) -> dict[str, Any]:
        """Return an edge's counters, which it shows to the holder of the platform's own key."""
        key = read_key(self.settings.keys_folder / f"{ADMIN}.json").text
        return self._get(edge, "/healthz", {"authorization": f"Bearer {key}"})

    def wait_until_sent(self, edge: str = EDGE, timeout_s: float = 120.0) -> None:
        """Wait until no quote of an edge is on disk; under load the newest ones are in memory."""
        until(f"{edge} has no quotes on disk", lambda: not self.health(edge)["quotes_stored"], timeout_s)

    def wait_until_logged(self, edge: str = EDGE, timeout_s: float = 120.0) -> None:
        """Wait until Kafka has acknowledged every quote of an edge, after the load has ended."""
        until(f"every quote of {edge} is in Kafka", lambda: not self.health(edge)["quotes_waiting"], timeout_s)

    def publish(self, tables: Sequence[PriceTable]) -> None:
        """Publish tables to Kafka and to Redis, in the order in which repricing_job does."""
        publish_tables(self.settings, tables)

    def issue_key(self, holder: str, *edges: str) -> str:
        """Return a new key of a backend for quotes of the drill's tenant, once the edges accept it."""
        text, _ = issue(self.settings, holder, Role.QUOTES, TENANT, KEY_DAYS, KeyKind.BACKEND)
        for edge in edges:
            until(f"{edge} accepts the key", partial(self._accepts, edge, text), 30)
        return text

    def kill(self, part: str, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a server's process and return its id."""
        return kill(self.platform, part, how)

    def keep_stopped(self, part: str) -> None:
        """Keep a killed server from being started again; :meth:`start_redis` and :meth:`start_broker` start it."""

        def stopped() -> bool:
            self.platform.stop(part)
            # A process that was killed a moment ago is restarted once more, unless it counts as stopped.
            return bool(self.platform.supervision.states()[part]["statename"] == "STOPPED")

        until(f"{part} is stopped", stopped, 60)

    def start_redis(self) -> None:
        """Start Redis and refill it from Kafka, as the keeper does."""
        self.platform.start("redis")
        until("Redis responds", lambda: redis_ready(self.platform.env) is None, 60)
        self.refill_redis()

    def refill_redis(self) -> None:
        """Refill a Redis that lost its data from Kafka, as the keeper does."""
        fill_redis(self.platform.env, lambda _: None)

    def start_broker(self) -> None:
        """Start the broker and wait until it answers."""
        self.platform.start("broker")
        until("the broker responds", lambda: broker_ready(self.platform.env) is None, 120)

    def _accepts(self, edge: str, key: str) -> bool:
        # Of an unknown listing, so that the request adds no quote to the log.
        url = f"http://127.0.0.1:{self.port(edge)}{PREFIX}{TENANT}/none/none?customer=c"
        try:
            request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code == HTTPStatus.NOT_FOUND
        return False

    def _get(self, edge: str, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port(edge)}{path}", headers=dict(headers))
            with urllib.request.urlopen(request, timeout=5) as reply:
                return dict(json.load(reply))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))


@contextlib.contextmanager
def running_servers(home: Path) -> Iterator[Servers]:
    """Run a broker and Redis, both ready, until the block ends; their edges can be started.

    Parameters
    ----------
    home : folder of the servers; what an earlier run left there is deleted.
    """
    edges = edge_parts()
    known = {name: PARTS[name] for name in ("broker", "redis", EDGE)}
    platform = Platform(home, known_parts=known | {part.name: part for part in edges})
    platform.clean()
    servers = Servers(platform)
    try:
        # Together they would also apply Feast's definitions, which no edge reads.
        platform.up(["broker"], job_names=[], speed=1, extra=port_settings(edges))
        platform.up(["redis"], job_names=[])
        servers.refill_redis()
        yield servers
    finally:
        # Another platform may have taken the ports of parts that are not started here.
        with contextlib.suppress(PlatformError):
            platform.down()
