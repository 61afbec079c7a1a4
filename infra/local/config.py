"""Folders of a run, and the configuration files of the broker, Redis and Flink.

The functions that return the text of a file have no side effects. The module has over 300 lines because the files
share a run's folder, ports and memory sizes, which must fit together. A reader who changes one of these values
finds every file that uses it here.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

import yaml

from infra.local.errors import PlatformError
from infra.local.machine.loopback import write_loopback_jar
from infra.local.machine.ports import LOOPBACK

ROOT = Path(__file__).resolve().parents[2]
FLINK_FILES = ROOT / "infra" / "flink"
SOCKET_PATH_LIMIT = 100
"""Longest path in characters that is used for a Unix socket; the system's limit is about 107 bytes."""

DEFAULT_PORTS = {
    "kafka": 9092,
    "kafka_controller": 9093,
    "redis": 6379,
    "flink": 8081,
    "flink_rpc": 6123,
    "flink_blob": 6124,
    "data_taskmanager": 6125,
    "rpc_taskmanager": 6122,
    "data_taskmanager_prices": 6127,
    "rpc_taskmanager_prices": 6126,
    "edge": 8080,
    "console": 8090,
    "metrics_jobmanager": 9250,
    "metrics_taskmanager": 9251,
    "metrics_taskmanager_prices": 9255,
    "metrics_ticker": 9252,
    "metrics_simulate": 9253,
    "metrics_keeper": 9254,
}
"""Default number of every port that a run opens, by purpose."""

DEDICATED_RESOURCES: dict[str, str] = {"repricing_job": "prices"}
"""External resource of each job that has a task manager of its own; the other jobs share one task manager.

A checkpoint, a garbage collection or a minute's batch of the counting and learning jobs must not delay the table
that follows a rival's offer.
"""
SHARED_RESOURCE = "counts"
"""External resource of the task manager that the other jobs share."""
TASK_SLOTS = 8
SLOT_MANAGED_MB = 32
"""Managed memory that a slot requests (jobs.connectors.flink.environment)."""
BUFFER_BYTES = 4_096
"""Smallest network buffer, equal to the one that repricing_job sets (jobs.connectors.flink.environment)."""
JOBMANAGER_MEMORY = "1024m"
TASKMANAGER_MEMORY_MB = 4096
"""Process memory of the shared task manager with two subtasks per operator."""
PRICES_MEMORY = "1152m"
"""Process memory of the task manager of prices, whose work is done in Python.
"""
MEMORY = re.compile(r"[1-9]\d*[mg]")
"""Form of a memory size: whole mebibytes or gibibytes."""
BROKER_HEAP = "512m"


@dataclass(frozen=True)
class Layout:
    """Folders and files of one run under its home folder."""

    home: Path
    jars: Path = field(default_factory=lambda: Path(os.environ.get("WALRAS_JARS", ROOT / ".walras" / "jars")))

    @property
    def run(self) -> Path:
        """Return the folder of configuration, logs and addresses of the running platform."""
        return self.home / "run"

    @property
    def flink_conf(self) -> Path:
        """Return Flink's configuration folder."""
        return self.run / "flink" / "conf"

    @property
    def flink_lib(self) -> Path:
        """Return the folder of Flink's jars: those of the wheel, its Python jar, and the connectors."""
        return self.run / "flink" / "lib"

    @property
    def java_crash(self) -> str:
        """Return the Java option that writes the crash report of a JVM beside its log."""
        return f"-XX:ErrorFile={self.run.absolute() / 'java_crash_%p.log'}"

    @property
    def checkpoints(self) -> Path:
        """Return the folder of retained checkpoints, with one folder per job."""
        return self.home / "flink" / "checkpoints"

    @property
    def platform_env(self) -> Path:
        """Return the file of addresses of the running platform, which ``jobs.runtime.settings`` reads."""
        return self.run / "platform.env"

    @property
    def socket(self) -> Path:
        """Return the path of supervisord's socket; in the temporary folder when the home's path is too long.

        >>> Layout(Path("/srv/walras/.walras")).socket.name
        'supervisor.sock'
        >>> len(str(Layout(Path("/" + "x" * 120)).socket)) < SOCKET_PATH_LIMIT
        True
        """
        path = self.run / "supervisor.sock"
        if len(str(path)) < SOCKET_PATH_LIMIT:
            return path
        return Path(tempfile.gettempdir()) / f"walras-{md5(str(self.home).encode()).hexdigest()[:12]}.sock"

    def read_ports(self) -> dict[str, int]:
        """Return the ports of this run or of the previous one by purpose; empty when there was none."""
        path = self.run / "ports.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def read_parallelism(self) -> int:
        """Return the number of subtasks of every operator of this run."""
        return int(self.read_env().get("WALRAS_PARALLELISM", "1"))

    def read_env(self) -> dict[str, str]:
        """Return ``platform.env`` as a mapping; empty when the platform was never up."""
        if not self.platform_env.exists():
            return {}
        pairs = (line.partition("=") for line in self.platform_env.read_text().splitlines() if "=" in line)
        return {name: value for name, _, value in pairs}


def flink_home() -> Path:
    """Return the folder of the apache-flink wheel: bin/, lib/, opt/, plugins/."""
    import importlib.util

    spec = importlib.util.find_spec("pyflink")
    if spec is None or not spec.submodule_search_locations:
        raise PlatformError(f"apache-flink is not installed for {sys.executable}; run `make env`")
    return Path(next(iter(spec.submodule_search_locations)))


def server_properties(layout: Layout, ports: Mapping[str, int]) -> str:
    """Return the broker's file: one node that is broker and controller, on loopback."""
    kafka, controller = ports["kafka"], ports["kafka_controller"]
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{kafka},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{kafka},CONTROLLER://{LOOPBACK}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": layout.home / "kafka",
        "num.partitions": 4,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 8,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": 16 * 1024 * 1024,
        "replica.fetch.max.bytes": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.segment.bytes": 256 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def redis_conf(layout: Layout, ports: Mapping[str, int]) -> str:
    """Return Redis' file: on loopback and without persistence, since its content is rebuilt from Kafka."""
    return (
        f"bind {LOOPBACK}\nport {ports['redis']}\nprotected-mode yes\ndaemonize no\n"
        f'dir {layout.run}\nsave ""\nappendonly no\nmaxmemory 1gb\nmaxmemory-policy noeviction\n'
    )


def flink_config(
    layout: Layout,
    ports: Mapping[str, int],
    *,
    shipped: Mapping[str, Any],
    checkpoint_interval_s: float,
    parallelism: int,
    metrics: bool = True,
    taskmanager_memory: str | None = None,
    quick_compiler: bool = False,
) -> str:
    """Return Flink's file: infra/flink/config.yaml with this machine's addresses, folders and memory.

    Parameters
    ----------
    shipped : the wheel's config.yaml, whose ``env.java.opts.all`` (the --add-opens list) is kept.
    checkpoint_interval_s : wall seconds between checkpoints.
    metrics : whether Flink's Prometheus reporter runs; it listens on all interfaces.
    taskmanager_memory : size of the Java process, like ``8g``, whose heap holds demand_job's state. None: the
        default, plus the memory that further subtasks take outside the heap.
    quick_compiler : run the task managers without Java's optimizing compiler (decision 47).

    Raises
    ------
    PlatformError
        If the wheel's file has no ``env.java.opts.all``, or the memory size has another form.
    """
    network = _network_mb(parallelism)
    outside = network - _network_mb(2) + (_slots("", parallelism) - TASK_SLOTS) * SLOT_MANAGED_MB
    taskmanager_memory = taskmanager_memory or f"{TASKMANAGER_MEMORY_MB + outside}m"
    if not MEMORY.fullmatch(taskmanager_memory):
        raise PlatformError(
            f"WALRAS_TASKMANAGER_MEMORY: expected a size like 4096m or 8g, got {taskmanager_memory!r}"
        )
    try:
        java_options = shipped["env"]["java"]["opts"]["all"]
    except (KeyError, TypeError) as error:
        raise PlatformError("the apache-flink wheel's conf/config.yaml has no env.java.opts.all") from error
    compiler = "-XX:TieredStopAtLevel=1 " if quick_compiler else ""
    values: dict[str, Any] = yaml.safe_load((FLINK_FILES / "config.yaml").read_text())
    values |= {
        "env.java.opts.all": java_options,
        # The client runs for seconds: the C1 compiler and the serial collector shorten its start.
        "env.java.opts.client": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "env.java.opts.jobmanager": f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 {layout.java_crash}",
        # Not the parallel collector: on a heap of some GB its pauses reached 6 s (decision 22).
        "env.java.opts.taskmanager": f"-XX:+UseG1GC -XX:MaxGCPauseMillis=100 {compiler}{layout.java_crash}",
        "taskmanager.jvm-exit-on-oom": True,
        "execution.checkpointing.interval": f"{round(checkpoint_interval_s * 1000)} ms",
        "execution.checkpointing.dir": layout.checkpoints.absolute().as_uri(),
        "parallelism.default": parallelism,
        "jobmanager.bind-host": LOOPBACK,
        "jobmanager.rpc.address": LOOPBACK,
        "jobmanager.rpc.port": ports["flink_rpc"],
        "jobmanager.memory.process.size": JOBMANAGER_MEMORY,
        "blob.server.port": str(ports["flink_blob"]),
        "rest.address": LOOPBACK,
        "rest.bind-address": LOOPBACK,
        "rest.port": ports["flink"],
        "rest.bind-port": str(ports["flink"]),
        "taskmanager.bind-host": LOOPBACK,
        "taskmanager.host": LOOPBACK,
        "taskmanager.memory.process.size": taskmanager_memory,
        # The Parquet writers compress through direct buffers, several per open file and column.
        "taskmanager.memory.task.off-heap.size": "768m",
        "taskmanager.memory.network.min": f"{network}m",
        "taskmanager.memory.network.max": f"{network}m",
        "taskmanager.memory.jvm-metaspace.size": "384m",
        "io.tmp.dirs": str((layout.home / "flink" / "tmp").absolute()),
        "metrics.reporter.prom.port": str(ports["metrics_jobmanager"]),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }
    if not metrics:
        values = {key: value for key, value in values.items() if not key.startswith("metrics.reporter")}
    return yaml.safe_dump(values, sort_keys=True, width=10_000)


def _slots(resource: str, parallelism: int) -> int:
    if resource:
        return parallelism * list(DEDICATED_RESOURCES.values()).count(resource)
    return max(TASK_SLOTS, 4 * parallelism)


def _network_mb(parallelism: int) -> int:
    """Return the network memory of the shared task manager in MB, at least 96 per subtask.

    The slots need about 40 MB with one subtask and 102 MB with two: one share grows with the number of subtasks
    and one with its square, since most exchanges connect every subtask with every subtask of the next operator. A
    fifth is added.
    """
    return max(96 * parallelism, 35 * parallelism + 14 * parallelism**2)


def metrics_wanted() -> bool:
    """Return whether Flink's Prometheus reporter runs (``WALRAS_FLINK_METRICS=on``).

    The default is off: the reporter listens on all interfaces, and nothing in a local run reads it. Flink's REST
    interface serves the same metrics on loopback.
    """
    return os.environ.get("WALRAS_FLINK_METRICS", "off") == "on"


def taskmanager_options(
    part: str, ports: Mapping[str, int], parallelism: int, *, metrics: bool = True
) -> dict[str, str]:
    """Return the Flink options of one task manager, which override those of the file.

    A task manager offers one unit of an external resource per slot, and a job requests that resource by name. This
    is how Flink places a job on one task manager among several.

    >>> ports = dict.fromkeys(DEFAULT_PORTS, 1)
    >>> taskmanager_options("taskmanager_prices", ports, 2)["external-resource.prices.amount"]
    '2'
    """
    own = part.removeprefix("taskmanager").lstrip("_")
    slots = _slots(own, parallelism)
    options = {
        "taskmanager.rpc.port": str(ports[f"rpc_{part}"]),
        "taskmanager.data.port": str(ports[f"data_{part}"]),
        "taskmanager.numberOfTaskSlots": str(slots),
        "external-resources": own or SHARED_RESOURCE,
        f"external-resource.{own or SHARED_RESOURCE}.amount": str(slots),
        "taskmanager.memory.managed.size": f"{slots * SLOT_MANAGED_MB}m",
    }
    if metrics:
        options["metrics.reporter.prom.port"] = str(ports[f"metrics_{part}"])
    if own:
        options |= {
            "taskmanager.memory.process.size": PRICES_MEMORY,
            "taskmanager.memory.task.off-heap.size": "64m",
            "taskmanager.memory.network.min": f"{max(64, 12 * parallelism)}m",
            "taskmanager.memory.network.max": f"{max(64, 12 * parallelism)}m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            # Small buffers: a fact does not wait for a minute's batches queued before it (decisions 29, 32).
            "taskmanager.memory.segment-size": f"{BUFFER_BYTES} bytes",
            "taskmanager.network.memory.buffer-debloat.enabled": "true",
            "taskmanager.network.memory.buffer-debloat.target": "100 ms",
        }
    return options


def platform_env(
    ports: Mapping[str, int], *, clock: str, external: Mapping[str, str], extra: Mapping[str, str]
) -> str:
    """Return the addresses and settings of a run in the form that ``jobs.runtime.settings`` reads.

    Parameters
    ----------
    external : addresses of the user's own ``kafka``, ``redis`` and ``flink`` by name.
    extra : further lines, name without the ``WALRAS_`` prefix.
    """
    # The data port identifies a task manager of this run on its cluster.
    published = ("metrics_",) if "flink" in external else ("metrics_", "data_")
    values = {
        "KAFKA": external.get("kafka", f"{LOOPBACK}:{ports['kafka']}"),
        "REDIS": external.get("redis", f"redis://{LOOPBACK}:{ports['redis']}/0"),
        "FLINK": external.get("flink", f"{LOOPBACK}:{ports['flink']}"),
        "CLOCK": clock,
        "EDGE_PORT": str(ports["edge"]),
        "CONSOLE_PORT": str(ports["console"]),
        **{name.upper() + "_PORT": str(port) for name, port in ports.items() if name.startswith(published)},
        **extra,
    }
    return "".join(f"WALRAS_{name}={value}\n" for name, value in values.items())


def next_clock(speed: float, *, stopped_at_ms: int | None, now_ms: int | None = None) -> str:
    """Return the clock of a new run, which continues from the time at which the previous run stopped.

    Run time therefore neither jumps nor moves backwards.

    Parameters
    ----------
    speed : simulated seconds per wall second; 1 without a later stop time is the wall clock.
    stopped_at_ms : time of the previous run's clock when it stopped; None: no previous run.

    >>> next_clock(60, stopped_at_ms=None, now_ms=1_000)
    'sim:1000:1000:60'
    >>> next_clock(60, stopped_at_ms=500_000, now_ms=2_000)
    'sim:500000:2000:60'
    >>> next_clock(1, stopped_at_ms=None, now_ms=1_000)
    'wall'
    """
    wall = round(time.time() * 1000) if now_ms is None else now_ms
    if speed == 1 and (stopped_at_ms is None or stopped_at_ms <= wall):
        return "wall"
    start = wall if stopped_at_ms is None else stopped_at_ms
    return f"sim:{start}:{wall}:{speed:g}"


def link_flink_jars(layout: Layout, connectors: list[Path]) -> None:
    """Create Flink's lib folder again: the loopback jar, and links to the wheel's jars and the connectors."""
    home = flink_home()
    layout.flink_lib.mkdir(parents=True, exist_ok=True)
    for old in layout.flink_lib.iterdir():
        old.unlink()
    for jar in [
        *sorted((home / "lib").glob("*.jar")),
        *sorted((home / "opt").glob("flink-python-*.jar")),
        *connectors,
    ]:
        (layout.flink_lib / jar.name).symlink_to(jar.absolute())
    [flink_python] = (home / "opt").glob("flink-python-*.jar")
    write_loopback_jar(flink_python, layout.flink_lib)


def write_all(
    layout: Layout,
    ports: Mapping[str, int],
    connectors: list[Path],
    *,
    env_text: str,
    checkpoint_interval_s: float,
    parallelism: int,
    quick_compiler: bool = False,
) -> None:
    """Write all configuration files of a run."""
    for folder in (layout.run, layout.flink_conf, layout.checkpoints, layout.home / "flink" / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    (layout.run / "ports.json").write_text(json.dumps(ports, indent=1))
    (layout.run / "server.properties").write_text(server_properties(layout, ports))
    (layout.run / "redis.conf").write_text(redis_conf(layout, ports))
    shipped = yaml.safe_load((flink_home() / "conf" / "config.yaml").read_text())
    (layout.flink_conf / "config.yaml").write_text(
        flink_config(
            layout,
            ports,
            shipped=shipped,
            checkpoint_interval_s=checkpoint_interval_s,
            parallelism=parallelism,
            metrics=metrics_wanted(),
            taskmanager_memory=os.environ.get("WALRAS_TASKMANAGER_MEMORY"),
            quick_compiler=quick_compiler,
        )
    )
    for name in ("log4j-console.properties", "log4j-cli.properties"):
        (layout.flink_conf / name).write_text((FLINK_FILES / name).read_text())
    (layout.run / "broker-log4j2.properties").write_text((FLINK_FILES / "log4j-console.properties").read_text())
    link_flink_jars(layout, connectors)
    # It may hold a password: that of a Redis of the user's own.
    layout.platform_env.touch(mode=0o600)
    layout.platform_env.chmod(0o600)
    layout.platform_env.write_text(env_text)
