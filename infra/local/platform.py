"""The platform of one run: up, down, status, clean.

The module has over 300 lines because one object owns a run's folder and processes. Each of its commands relies on
the order in which the others start and stop them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from infra.local import config, jobs, parts
from infra.local.config import Layout
from infra.local.continuity import fill_redis, read_stopped_at, record_clock
from infra.local.errors import PlatformError
from infra.local.machine import jars
from infra.local.machine.java import find_java_home
from infra.local.machine.ports import is_listening, pick_ports
from infra.local.parts import PARTS, TASK_MANAGERS, Part
from infra.local.status import without_password
from infra.local.supervision import RUNNING, Supervision, end_leftovers, memory_mb, process_tree, processes_of
from jobs.access.key_files import sign_in_link
from jobs.access.signatures import CommandKeyError, Signer
from jobs.connectors.feast.features import apply_feature_repo
from jobs.connectors.kafka.access_keys import ensure_local_keys, wall_ms
from jobs.connectors.kafka.publisher import ensure_topics
from jobs.monitoring.minutes import newest_minute
from jobs.registry import JOBS
from jobs.runtime.pseudonym import create_key
from jobs.runtime.settings import DATA_CLOCK, KEY_FILE, SETTINGS_ERRORS, SIGNING_KEY_FILE, Settings
from schemas.time_units import MINUTE_MS

STATE_FOLDERS = ("run", "kafka", "flink", "archive", "feast")
"""Folders that ``clean`` deletes; the environment and the jars are kept."""
WARM_UP_LAG_S = 3.0
"""Largest delay of a closed minute, in wall seconds, at which the jobs count as warmed up."""
WARM_UP_TIMEOUT_S = 60.0
"""Longest wall time for which the start of the market waits for the warm-up."""
REPLACEABLE = ("kafka", "redis", "flink")


def _print_progress(text: str) -> None:
    print(text, flush=True)


def _always_ready() -> None:
    """Check of a part that is ready as soon as it runs."""


class Platform:
    """The platform under one home folder.

    Parameters
    ----------
    home : folder that holds all state of the run.
    progress : receives each line of progress.
    known_parts : all parts by name, in the order of their start.

    Examples
    --------
    ``Platform(Path(".walras")).up()`` starts everything; ``down()`` stops what ``up`` started.
    """

    def __init__(
        self,
        home: Path,
        progress: Callable[[str], None] = _print_progress,
        known_parts: Mapping[str, Part] = PARTS,
    ) -> None:
        self.layout = Layout(home.absolute())
        self.supervision = Supervision(self.layout)
        self._progress = progress
        self._known_parts = known_parts

    # ---- the present state ---------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        """Return the addresses and settings of the platform that is, or was last, up.

        Raises
        ------
        PlatformError
            If no platform was ever up under this home.
        """
        env = self.layout.read_env()
        if not env:
            raise PlatformError(f"no platform was started under {self.layout.home}; start one with `make up`")
        return env

    def settings(self) -> Settings:
        """Return the settings of the running platform, as each of its processes reads them."""
        return Settings.load(home=self.layout.home)

    def external(self) -> dict[str, str]:
        """Return the addresses of the servers that the user provides, by name."""
        return {
            name: os.environ[f"WALRAS_{name.upper()}"]
            for name in REPLACEABLE
            if f"WALRAS_{name.upper()}" in os.environ
        }

    def pids(self, part: str) -> list[int]:
        """Return the ids of a part's process and its descendants, the parent first; empty when it does not run."""
        pid = self.supervision.states().get(part, {}).get("pid", 0)
        return [process.pid for process in process_tree(pid)] if pid else []

    # ---- up ------------------------------------------------------------------------------------

    def up(
        self,
        names: Iterable[str] | None = None,
        *,
        job_names: Sequence[str] | None = None,
        speed: float = 60.0,
        checkpoint_interval_s: float = 5.0,
        parallelism: int = 2,
        extra: Mapping[str, str] | None = None,
        quick_compiler: bool = False,
    ) -> None:
        """Start parts and jobs in order, each when its requirements are ready; running ones are left alone.

        Parameters
        ----------
        names : parts to run; None: all. Servers of the user are checked only.
        job_names : jobs to submit; None: all of JOBS.
        speed : run seconds per wall second; 1 is the wall clock.
        extra : further settings for ``platform.env``, by name without ``WALRAS_``.
        quick_compiler : run the task managers without Java's optimizing compiler.

        Raises
        ------
        PlatformError
            Naming the part that is not ready, the condition that is not met, and the end of its log.
        """
        started = time.monotonic()
        wanted = [self._known_parts[name] for name in self._known_parts if names is None or name in set(names)]
        wanted_jobs = list(JOBS) if job_names is None else list(job_names)
        launched = not self.supervision.alive()
        if launched:
            self._launch(speed, checkpoint_interval_s, parallelism, dict(extra or {}), quick_compiler)
        states = self.supervision.states()
        wanted = [part for part in wanted if part.name in states or part.replaced_by]
        first, then, last = ([part for part in wanted if part.stage == stage] for stage in (1, 2, 3))
        for part in first:
            if part.name in states:
                self.supervision.start(part.name)
        by_name = {part.name: part for part in first}
        background = []
        new_cluster = launched and "jobmanager" in by_name and "jobmanager" in states
        if new_cluster and wanted_jobs:
            # The client takes longer to start than the broker and the cluster, so it starts at the same time.
            background.append(
                self._in_background("submission", partial(self._submit, wanted_jobs, new_cluster=True))
            )
        self._wait_for([by_name[n] for n in ("broker", "redis") if n in by_name])
        if "broker" in by_name:
            try:
                created = ensure_topics(self.env["WALRAS_KAFKA"], parallelism=self.settings().parallelism)
            except ValueError as error:
                raise PlatformError(f"topics: {error}") from error
            self._progress(f"topics      {len(created)} created" if created else "topics      all exist")
            try:
                ensure_local_keys(self.settings())
            except CommandKeyError as error:
                raise PlatformError(f"access keys: {error}") from error
        if {"broker", "redis"} <= set(by_name):
            background.append(
                self._in_background("filling Redis from Kafka", partial(fill_redis, self.env, self._progress))
            )
            background.append(self._in_background("feast apply", self._apply_features))
        if "jobmanager" in by_name:
            self._wait_for([by_name["jobmanager"]])
            if wanted_jobs and not new_cluster:
                self._submit(wanted_jobs)
            self._wait_for([by_name[n] for n in TASK_MANAGERS if n in by_name])
        for wait in background:
            wait()
        self._start(then)
        if "jobmanager" in by_name:
            for name in wanted_jobs:
                self._until(f"job {name}", partial(jobs.not_fully_running, self.env, name), 180)
        if launched and wanted_jobs and any(part.name == "simulate" for part in last):
            self._warm_up(wanted_jobs)
        self._start(last)
        self._progress(f"up after {time.monotonic() - started:.0f} s")
        if any(part.name == "console" for part in then):
            link = sign_in_link(self.settings(), wall_ms())
            self._progress(f"console     {link} (signs in once; `walras keys link` prints another)")

    def _warm_up(self, job_names: Sequence[str]) -> None:
        """Wait until the jobs close minutes in time with ticks alone, before the market starts.

        The first minutes of a JVM run slower than later ones.
        """
        settings = self.settings()
        clock = settings.host_clock
        if clock is None:
            return
        max_lag_ms = MINUTE_MS + settings.lateness_ms + WARM_UP_LAG_S * 1000 * clock.speed

        def lag_ms() -> int:
            return clock.now_ms() - newest_minute(settings)

        check = partial(jobs.not_warmed_up, self.env, job_names, lag_ms, max_lag_ms)
        self._until("minutes close in time", check, WARM_UP_TIMEOUT_S, required=False)

    def _launch(
        self,
        speed: float,
        checkpoint_interval_s: float,
        parallelism: int,
        extra: dict[str, str],
        quick_compiler: bool,
    ) -> None:
        create_key(self.layout.home / KEY_FILE)
        try:
            _ = self.settings().pseudonym_key
        except SETTINGS_ERRORS as error:
            raise PlatformError(f"settings: {error}") from error
        ended = end_leftovers(self.layout.home)
        if ended:
            self._progress(f"ended processes of an earlier run: {', '.join(ended)}")
        os.environ["JAVA_HOME"] = str(find_java_home())
        locked = jars.fetch(self.layout.jars)
        external = self.external()
        ports = pick_ports(config.DEFAULT_PORTS, self.layout.read_ports())
        moved = [
            f"{n} {ports[n]}"
            for n in ("kafka", "redis", "flink", "edge", "console")
            if ports[n] != config.DEFAULT_PORTS[n]
        ]
        if moved:
            self._progress(f"ports       default ports are in use; using {', '.join(moved)}")
        stopped_at = read_stopped_at(self.layout)
        config.write_all(
            self.layout,
            ports,
            jars.classpath(locked, "flink", self.layout.jars),
            env_text=config.platform_env(
                ports,
                clock=config.next_clock(speed, stopped_at_ms=stopped_at),
                external=external,
                extra={"PARALLELISM": str(parallelism), **self._command_key(extra), **extra},
            ),
            checkpoint_interval_s=checkpoint_interval_s,
            parallelism=parallelism,
            quick_compiler=quick_compiler,
        )
        if "kafka" not in external and not (self.layout.home / "kafka" / "meta.properties").exists():
            self._format_broker()
        run = [part for part in self._known_parts.values() if part.replaced_by not in external]
        self.supervision.launch(run, ports, self.environment())

    def _command_key(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the setting of the public key under which commands are verified.

        A replay has none: its commands are recorded, and come from the operator's own files.
        """
        signer = Signer.create(self.layout.home / SIGNING_KEY_FILE)
        return {} if extra.get("CLOCK") == DATA_CLOCK else {"COMMAND_KEY": signer.public_key}

    def environment(self) -> dict[str, str]:
        """Return the environment of every part and of the client that submits jobs."""
        if "JAVA_HOME" not in os.environ:
            os.environ["JAVA_HOME"] = str(find_java_home())
        return parts.runtime_environment(self.layout, Path(os.environ["JAVA_HOME"]))

    def _format_broker(self) -> None:
        # Kafka's tool reads an id that starts with a dash as an option, so the first character is fixed.
        cluster_id = "w" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        done = subprocess.run(
            parts.format_command(self.layout, cluster_id),
            capture_output=True,
            text=True,
            env=self.environment(),
            check=False,
        )
        if done.returncode:
            raise PlatformError(
                f"formatting the broker's data folder failed:\n{(done.stdout + done.stderr).strip()[-1500:]}"
            )

    def _in_background(self, what: str, work: Callable[[], None]) -> Callable[[], None]:
        """Run ``work`` in a thread and return a function that waits for it and raises its error."""
        failure: list[Exception] = []

        def run() -> None:
            try:
                work()
            except Exception as error:  # raised in the thread that waits
                failure.append(error)

        thread = threading.Thread(target=run, name=what, daemon=True)
        thread.start()

        def wait() -> None:
            thread.join()
            if failure:
                raise PlatformError(f"{what} failed: {failure[0]}") from failure[0]

        return wait

    def _apply_features(self) -> None:
        began = time.monotonic()
        if apply_feature_repo(self.settings()):
            self._progress(f"feast       definitions applied ({time.monotonic() - began:.0f} s)")

    def _submit(self, names: Sequence[str], *, new_cluster: bool = False) -> None:
        began = time.monotonic()
        done = self.submit(names, new_cluster=new_cluster)
        if done:
            self._progress(f"jobs        {', '.join(done)} submitted in {time.monotonic() - began:.0f} s")
        else:
            self._progress("jobs        all active")

    def submit(
        self,
        names: Sequence[str],
        *,
        resume: bool = True,
        new_cluster: bool = False,
        module: str = "jobs.registry",
    ) -> dict[str, str]:
        """Submit the jobs that are not active and return the job ids by name."""
        return jobs.submit(
            self.layout,
            self.env,
            names,
            self.environment(),
            resume=resume,
            new_cluster=new_cluster,
            local_cluster="flink" not in self.external(),
            module=module,
        )

    # ---- waiting -------------------------------------------------------------------------------

    def _start(self, group: Sequence[Part]) -> None:
        for part in group:
            self.supervision.start(part.name)
        self._wait_for(group)

    def _wait_for(self, wanted: Sequence[Part]) -> None:
        for part in wanted:
            check = partial(part.ready, self.env) if part.ready else _always_ready
            self._until(part.what, check, 120, part.name)

    def _until(
        self,
        what: str,
        check: Callable[[], str | None],
        timeout_s: float,
        part: str | None = None,
        *,
        required: bool = True,
    ) -> None:
        began = time.monotonic()
        checked_s = 0
        waits_for: str | None = "its first check"
        while waits_for is not None:
            try:
                waits_for = check()
            except (OSError, KafkaException) as error:
                waits_for = str(error)
            if part is not None:
                info = self.supervision.states().get(part)
                checked_s = checked_s or (info["now"] if info is not None else 0)
                if info is not None and info["statename"] in ("STOPPING", "STOPPED"):
                    waits_for = "stopped; the keeper restarts a task manager that does not register"
                elif info is not None and info["statename"] not in RUNNING:
                    # A process killed earlier is EXITED until supervisord's next poll.
                    killed_earlier = info["statename"] == "EXITED" and info["start"] <= checked_s
                    if info["statename"] != "BACKOFF" and not killed_earlier:
                        raise PlatformError(
                            f"{what} does not run ({info['statename']}: {info['description']}). End of its log:\n"
                            + self.supervision.log_tail(part)
                        )
                    waits_for = f"it exited and is being restarted ({info['description']})"
                elif info is not None and info["statename"] == "STARTING":
                    waits_for = waits_for or "it is starting"
            if waits_for is None:
                break
            if time.monotonic() - began > timeout_s:
                if not required:
                    self._progress(f"{what:<28} not reached after {timeout_s:.0f} s ({waits_for}); continuing")
                    return
                last = f" End of its log:\n{self.supervision.log_tail(part)}" if part else ""
                raise PlatformError(f"{what} is not ready after {timeout_s:.0f} s: {waits_for}.{last}")
            time.sleep(0.2)
        self._progress(f"{what:<28} ready ({time.monotonic() - began:.1f} s)")

    def wait(self, names: Iterable[str] = (), job_names: Iterable[str] = (), timeout_s: float = 120) -> None:
        """Wait until parts are ready and every task of the jobs runs."""
        self._wait_for([self._known_parts[name] for name in names])
        for name in job_names:
            self._until(f"job {name}", partial(jobs.not_fully_running, self.env, name), timeout_s)

    # ---- down ----------------------------------------------------------------------------------

    def down(self) -> bool:
        """Stop what ``up`` started and return whether anything ran.

        The market stops first and the broker last, so that no process writes to a stopped one.

        Raises
        ------
        PlatformError
            If a port of the run still accepts connections afterwards, naming it.
        """
        ran = self.supervision.alive()
        if ran:
            record_clock(self.layout, self.env)
            order = (
                ("simulate", "ticker", "edge", "console", "keeper"),
                (*TASK_MANAGERS, "jobmanager"),
                ("broker", "redis"),
            )
            for group in order:
                self.supervision.stop(group)
            self.supervision.shutdown()
        ended = end_leftovers(self.layout.home)
        if ended:
            self._progress(f"ended remaining processes: {', '.join(ended)}")
        with contextlib.suppress(FileNotFoundError):
            self.layout.socket.unlink()
        external = self.external()
        still = [
            f"{name} {port}"
            for name, port in self.layout.read_ports().items()
            if ran and name.split("_")[0] not in external and is_listening(port)
        ]
        if still:
            raise PlatformError(f"stopped, but another process listens on {', '.join(still)}")
        return ran or bool(ended)

    def start(self, name: str) -> None:
        """Start a part and wait until it is ready."""
        self.supervision.start(name)
        self._wait_for([self._known_parts[name]])

    def stop(self, name: str) -> None:
        """Stop a part until it is started again."""
        self.supervision.stop([name])

    def restart(self, name: str) -> None:
        """Stop a part and start it again."""
        self.stop(name)
        self.start(name)

    def clean(self) -> list[str]:
        """Stop everything, delete all state of the run and return the names of the deleted folders."""
        self.down()
        removed = [name for name in STATE_FOLDERS if (self.layout.home / name).exists()]
        for name in removed:
            shutil.rmtree(self.layout.home / name)
        return removed

    # ---- status ----------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return the state of the platform: parts (state, pid, memory, unmet condition), jobs and addresses."""
        env = self.layout.read_env()
        states = self.supervision.states()
        answer: dict[str, Any] = {
            "up": bool(states),
            "home": str(self.layout.home),
            "addresses": {name: without_password(value) for name, value in env.items()},
            "ports": {},
            "parts": {},
            "jobs": {},
        }
        if states:
            settings = self.settings()
            page = f"{settings.console_address} (`walras keys link` prints a link that signs in)"
            answer["ports"] = {"quotes": settings.edge_address, "page": page}
        external = self.external()
        for part in self._known_parts.values():
            info = states.get(part.name)
            provided = part.replaced_by in external
            if info is None and not provided:
                continue
            state = "YOURS" if provided else info["statename"]  # type: ignore[index]
            pid = 0 if info is None else info["pid"]
            waits_for = part.ready(env) if part.ready and state in ("RUNNING", "YOURS") else None
            answer["parts"][part.name] = {
                "what": part.what,
                "state": state,
                "pid": pid,
                "memory_mb": memory_mb(pid) if pid else 0,
                "up_s": info["now"] - info["start"] if info and pid else 0,
                "waits_for": waits_for,
            }
        with contextlib.suppress(OSError, ValueError, KeyError):
            for job in jobs.all_jobs(env):
                if job.state in jobs.ACTIVE:
                    answer["jobs"][job.name] = {"state": job.state, "id": job.id, "since_ms": job.since_ms}
        answer["memory_mb"] = (
            sum(p.memory_info().rss for p in processes_of(self.layout.home)) >> 20 if states else 0
        )
        return answer
