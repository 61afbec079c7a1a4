"""Health of the components of a running deployment, read over their own public interfaces.

For operators (the console, the live view, ``walras status``): each result names the problem and what to do about
it. Nothing here restarts a component; that is the platform's task.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from supervisor.xmlrpc import SupervisorTransport

from jobs.audit.quarantine import failing_buckets
from jobs.connectors.kafka.offsets import KAFKA_UNREACHABLE, error_text, newest_timestamp, topic_names
from jobs.connectors.kafka.publisher import PublishError
from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE, RedisPriceTables
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.monitoring import minute_progress
from jobs.monitoring.minute_progress import Sample
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

UNREACHABLE: tuple[type[Exception], ...] = (*KAFKA_UNREACHABLE, *REDIS_UNREACHABLE, PublishError)
"""What the clients raise when a component does not answer."""

MAX_DELAY_S = 60
"""Wall seconds beyond its lateness after which an open minute is a problem."""
NOTABLE_DELAY_S = 15
"""Wall seconds beyond its lateness after which a delay is reported."""
FLINK_JOBS = ("demand_job", "feature_job", "elasticity_job", "repricing_job")


class ComponentHealth(NamedTuple):
    """Health of one component.

    Attributes
    ----------
    name : the component.
    ok : whether it works.
    note : its state, or the problem and what to do.
    notable : whether the note matters although the component works.
    """

    name: str
    ok: bool
    note: str
    notable: bool = False


def get_json(url: str, timeout_s: float = 1.5) -> Any:
    """Return a JSON document over HTTP; a reply with status 5xx and a JSON body counts as one.

    Raises
    ------
    OSError
        If the server does not answer, or not with JSON.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:
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
        return ComponentHealth("broker", False, f"{settings.kafka}: {error_text(error)}")
    ours = sum(name.startswith("pricing.") for name in names)
    return ComponentHealth("broker", ours > 0, f"{ours} topics" if ours else "no topics: run `walras topics`")


def newest_minute(settings: Settings) -> int:
    """Return the end of the newest closed minute, by the newest batch of cells, epoch ms; -1 if none has closed.

    Raises
    ------
    confluent_kafka.KafkaException, KeyError
        If the broker does not answer or has no such topic.
    """
    return newest_timestamp(settings.kafka, TOPICS["cells"].topic)


def check_minutes(settings: Settings) -> ComponentHealth | None:
    """Report whether minutes close, by the newest batch of cells; None in a replay, which has no clock.

    Event time advances with ticks in every partition of every input: without them all components run and no minute
    closes.
    """
    clock = settings.host_clock
    if clock is None:
        return None
    try:
        newest = newest_minute(settings)
    except KAFKA_UNREACHABLE as error:
        return ComponentHealth("minutes", False, f"not known: {error}")
    samples = minute_progress.read_samples(settings.minute_progress_file, round(time.time() * 1000))
    return judge_newest_minute(newest, clock, settings.lateness_ms, samples)


def judge_newest_minute(
    newest_ms: int, clock: Clock, lateness_ms: int, samples: Sequence[Sample] = ()
) -> ComponentHealth:
    """Judge the end of the newest closed minute, epoch ms; -1: none has closed.

    Parameters
    ----------
    clock, lateness_ms : the run's Clock, and how long after its end a minute closes.
    samples : samples of the newest closed minute over the last wall minute, which show when a late run will have
        caught up.

    >>> import time
    >>> noon = 43_200_000
    >>> judge_newest_minute(noon - 60_000, Clock(noon, round(time.time() * 1000)), 10_000).note
    'closed up to 11:59'
    >>> judge_newest_minute(noon - 600_000, Clock(noon, round(time.time() * 1000)), 10_000).note
    'closed up to 11:50, 10 minutes ago: demand_job is behind, or the ticker is not running'

    On a clock faster than the wall clock, a delay may mean that the machine is too slow for that speed.
    """
    if newest_ms < 0:
        return ComponentHealth("minutes", False, "none has closed yet")
    when = datetime.fromtimestamp(newest_ms / 1000, UTC).strftime("%H:%M")
    behind_ms = clock.now_ms() - newest_ms
    late_ms = behind_ms - MINUTE_MS - lateness_ms
    if late_ms <= NOTABLE_DELAY_S * 1000 * clock.speed:
        return ComponentHealth("minutes", True, f"closed up to {when}")
    ago = f"closed up to {when}, {behind_ms / MINUTE_MS:.0f} minutes ago"
    coming = minute_progress.catch_up_text(late_ms, clock.speed, samples)
    if late_ms <= MAX_DELAY_S * 1000 * clock.speed:
        return ComponentHealth("minutes", True, f"{ago}{': ' if coming else ''}{coming}", notable=True)
    if coming.startswith("catching up"):
        return ComponentHealth("minutes", False, f"{ago}: {coming}")
    advice = "; if the delay persists, start with a slower clock (`make run SPEED=10`)" if clock.speed > 1 else ""
    why = f"demand_job is behind, or the ticker is not running{f'; {coming}' if coming else ''}"
    return ComponentHealth("minutes", False, f"{ago}: {why}{advice}")


def check_buckets(settings: Settings) -> ComponentHealth | None:
    """Report whether every bucket processes its minutes; None if the broker does not answer.

    A bucket is FAILING when a job's logic raised in three minutes in a row; its listings keep their tables.
    """
    try:
        failing = failing_buckets(settings.kafka)
    except KAFKA_UNREACHABLE:
        return None  # check_broker reports the error.
    if not failing:
        return ComponentHealth("buckets", True, "all process their minutes")
    described = "; ".join(
        f"{each.logic} bucket {each.bucket} FAILING for {each.minutes} minutes, newest "
        f"{datetime.fromtimestamp(each.newest_ms / 1000, UTC):%H:%M}: {each.error[:120]}"
        for each in failing[:3]
    )
    more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
    return ComponentHealth("buckets", False, f"{described}{more}; `walras quarantine list` shows what failed")


def check_redis(tables: RedisPriceTables, url: str) -> ComponentHealth:
    """Report whether Redis answers, and has the ``ready`` epochs of price tables and of redemptions."""
    try:
        epoch = tables.ready()
        with closing(RedemptionStore(url)) as store:
            redemptions = store.ready()
    except REDIS_UNREACHABLE as error:
        return ComponentHealth("redis", False, str(error).split(".")[0])
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
        return [ComponentHealth("flink", False, f"{settings.flink}: {error}")]
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
    """Report whether the edge service is ready."""
    scheme = "http" if settings.tls_certificate is None else "https"
    base = f"{scheme}://{settings.edge_host}:{settings.edge_port}"
    try:
        ready, alive = get_json(f"{base}/readyz"), get_json(f"{base}/healthz")
        if ready["status"] != "ok":
            return ComponentHealth("edge", False, ready["status"])
    except OSError as error:
        return ComponentHealth("edge", False, f"{base}: {error}")
    except (KeyError, TypeError):
        return ComponentHealth("edge", False, f"{base}: another service answers at this address")
    stored, dropped = alive.get("quotes_stored", 0), alive["quotes_dropped"]
    note = f"{alive['quotes_logged']} quotes, {stored} on disk, {dropped} dropped"
    if probing := alive.get("probing_callers", 0):
        note += f"; {probing} callers are probing and get the default price: the edge's log names them"
    return ComponentHealth("edge", True, note, notable=probing > 0)


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
    asked = (check_minutes(settings), check_buckets(settings))
    minutes_and_buckets = [found for found in asked if found is not None]
    return [
        check_broker(settings),
        *check_flink(settings),
        *minutes_and_buckets,
        check_redis(tables, settings.redis.get_secret_value()),
        *check_processes(settings),
        check_edge(settings),
    ]


def _job_name(name: str) -> str:
    return next((job for job in FLINK_JOBS if job in name), name)


def _job_health(name: str, job: dict[str, Any]) -> ComponentHealth:
    state = job["state"]
    tasks = job.get("tasks", {})
    running, total = tasks.get("running", 0) + tasks.get("finished", 0), tasks.get("total", 0)
    if state == "RUNNING" and running < total:
        return ComponentHealth(name, False, f"{running} of {total} tasks running")
    return ComponentHealth(name, state == "RUNNING", state.lower())
