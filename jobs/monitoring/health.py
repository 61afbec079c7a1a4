"""Health of the components of a running deployment, read over their own public interfaces.

For operators (the console, the live view, ``walras status``): each result names the problem and what to do about
it. Nothing here restarts a component; that is the platform's task.
"""

from __future__ import annotations

import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Any

import orjson
from supervisor.xmlrpc import SupervisorTransport

from jobs.access.key_files import ADMIN, read_key
from jobs.connectors.kafka.offsets import KAFKA_UNREACHABLE, error_text, topic_names
from jobs.connectors.kafka.publisher import PublishError
from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE, RedisPriceTables
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.monitoring.component import ComponentHealth
from jobs.monitoring.minutes import check_buckets, check_minutes
from jobs.runtime.settings import Settings

UNREACHABLE: tuple[type[Exception], ...] = (*KAFKA_UNREACHABLE, *REDIS_UNREACHABLE, PublishError)
"""What the clients raise when a component does not answer."""

FLINK_JOBS = ("demand_job", "feature_job", "elasticity_job", "repricing_job")


def get_json(url: str, timeout_s: float = 1.5, headers: Mapping[str, str] = MappingProxyType({})) -> Any:
    """Return a JSON document over HTTP; a reply with status 5xx and a JSON body counts as one.

    Parameters
    ----------
    headers : of the request.

    Raises
    ------
    OSError
        If the server does not answer, or not with JSON.
    """
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            body = reply.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise OSError(f"{url}: expected JSON: {error}") from error


def check_broker(settings: Settings) -> ComponentHealth:
    """Report whether Kafka answers."""
    try:
        names = topic_names(settings.kafka)
    except KAFKA_UNREACHABLE as error:
        return ComponentHealth("broker", False, f"{settings.kafka}: no answer: {error_text(error)}")
    ours = sum(name.startswith("pricing.") for name in names)
    return ComponentHealth("broker", ours > 0, f"{ours} topics" if ours else "no topics: run `walras topics`")


def check_redis(tables: RedisPriceTables, url: str) -> ComponentHealth:
    """Report whether Redis answers, and has the ``ready`` epochs of price tables and of redemptions."""
    try:
        epoch = tables.ready()
        with closing(RedemptionStore(url)) as store:
            redemptions = store.ready()
    except REDIS_UNREACHABLE as error:
        return ComponentHealth("redis", False, f"no answer: {str(error).rstrip('.')}")
    if epoch is None or redemptions is None:
        lost = "not ready" if epoch is None else "redemptions of price locks not ready"
        return ComponentHealth("redis", False, f"{lost}: run `walras rebuild-redis`")
    return ComponentHealth("redis", True, f"epoch {epoch}")


def check_flink(settings: Settings) -> list[ComponentHealth]:
    """Report on the cluster and each of the four jobs; of several runs with one name the newest counts."""
    try:
        jobs = get_json(f"http://{settings.flink}/jobs/overview").get("jobs", [])
        cluster = get_json(f"http://{settings.flink}/overview")
    except OSError as error:
        return [ComponentHealth("flink", False, _no_answer(settings.flink, error))]
    newest: dict[str, dict[str, Any]] = {}
    for job in sorted(jobs, key=lambda job: job.get("start-time", 0)):
        newest[_job_name(job["name"])] = job
    workers = f"{cluster.get('taskmanagers', 0)} workers, {cluster.get('slots-available', 0)} free slots"
    components = [ComponentHealth("flink", cluster.get("taskmanagers", 0) > 0, workers)]
    for name in FLINK_JOBS:
        found = newest.get(name)
        components.append(_job_health(name, found) if found else ComponentHealth(name, False, "not submitted"))
    return components


def check_edge(settings: Settings) -> ComponentHealth:
    """Report whether the edge service is ready; with the local platform's key also what it counts."""
    base = settings.edge_address
    try:
        ready = get_json(f"{base}/readyz")
        if ready["status"] != "ok":
            return ComponentHealth("edge", False, ready["status"])
        alive = get_json(f"{base}/healthz", headers=_local_key(settings))
        if alive == {"status": "ok"}:
            return ComponentHealth("edge", True, "ready; its counters need the key of a reader of every tenant")
    except OSError as error:
        return ComponentHealth("edge", False, _no_answer(base, error))
    except (KeyError, TypeError):
        return ComponentHealth("edge", False, f"{base}: another service answers at this address")
    stored, dropped = alive.get("quotes_stored", 0), alive["quotes_dropped"]
    note = f"{alive['quotes_logged']} quotes, {stored} on disk, {dropped} dropped"
    if probing := alive.get("probing_callers", 0):
        note += f"; {probing} callers are probing and get the default price: the edge's log names them"
    return ComponentHealth("edge", True, note, notable=probing > 0)


def _local_key(settings: Settings) -> dict[str, str]:
    """Return the header that presents the local platform's key; none where there is no such key."""
    try:
        key = read_key(settings.keys_folder / f"{ADMIN}.json").text
    except OSError:
        return {}
    return {"authorization": f"Bearer {key}"}


def check_processes(settings: Settings) -> list[ComponentHealth]:
    """Report on the local platform's processes without an interface of their own (ticker, simulator, keeper).

    Empty where no local platform runs.
    """
    socket = settings.home / "run" / "supervisor.sock"
    if not socket.exists():
        return []
    transport = SupervisorTransport(None, None, f"unix://{socket.absolute()}")
    try:
        found: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport).supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error) as error:
        return [ComponentHealth("supervisor", False, str(error))]
    checked_directly = {"broker", "redis", "jobmanager", "edge"}
    return [
        ComponentHealth(info["name"], info["statename"] == "RUNNING", info["statename"].lower())
        for info in found
        if info["name"] not in checked_directly and info["statename"] != "STOPPED"
    ]


def component_health(settings: Settings, tables: RedisPriceTables) -> list[ComponentHealth]:
    """Return the health of every component, in the order of the data flow."""
    broker = check_broker(settings)
    # Each question to a broker that does not answer would wait for its timeout.
    asked = (check_minutes(settings), check_buckets(settings)) if broker.ok else ()
    minutes_and_buckets = [found for found in asked if found is not None]
    return [
        broker,
        *check_flink(settings),
        *minutes_and_buckets,
        check_redis(tables, settings.redis.get_secret_value()),
        *check_processes(settings),
        check_edge(settings),
    ]


def _no_answer(address: str, error: OSError) -> str:
    """Return the note of an address whose server does not answer.

    >>> refused = ConnectionRefusedError(111, "Connection refused")
    >>> _no_answer("127.0.0.1:8081", urllib.error.URLError(refused))
    '127.0.0.1:8081: no answer: Connection refused'
    """
    cause = getattr(error, "reason", error)
    return f"{address}: no answer: {getattr(cause, 'strerror', None) or cause}"


def _job_name(name: str) -> str:
    return next((job for job in FLINK_JOBS if job in name), name)


def _job_health(name: str, job: dict[str, Any]) -> ComponentHealth:
    state = job["state"]
    tasks = job.get("tasks", {})
    running, total = tasks.get("running", 0) + tasks.get("finished", 0), tasks.get("total", 0)
    if state == "RUNNING" and running < total:
        return ComponentHealth(name, False, f"{running} of {total} tasks running")
    return ComponentHealth(name, state == "RUNNING", state.lower())
