"""Start, restart and stop the parts with supervisord, which also rotates their logs.

supervisord runs detached, with a socket that only its user can open. Processes that remain when supervisord itself
is killed are found by a mark in their environment (``WALRAS_RUN_OF``), so that no other process of the machine is
ended.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from infra.local.config import ROOT, Layout
from infra.local.errors import PlatformError
from infra.local.parts import Part

RUNNING = {"STARTING", "RUNNING"}


def supervisord_conf(layout: Layout, parts: Iterable[Part], ports: Mapping[str, int]) -> str:
    """Return supervisord's file: one program per part, none of which starts automatically."""

    def text(value: object) -> str:
        return str(value).replace("%", "%%")

    sections = [
        "[unix_http_server]", f"file={text(layout.socket)}", "chmod=0700", "",
        "[supervisord]", f"logfile={text(layout.run / 'supervisord.log')}", "logfile_maxbytes=5MB",
        "logfile_backups=1", f"pidfile={text(layout.run / 'supervisord.pid')}", f"directory={text(ROOT)}", "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface", "",
    ]  # fmt: skip
    for part in parts:
        environment = dict(part.environment)
        if part.metrics:
            environment["WALRAS_METRICS_PORT"] = str(ports[part.metrics])
        sections += [
            f"[program:{part.name}]", f"command={text(shlex.join(part.command(layout)))}",
            "autostart=false", "autorestart=true", "startsecs=1", "startretries=20",
            "stopasgroup=true", "killasgroup=true", f"stopwaitsecs={part.stop_s}",
            f"stdout_logfile={text(layout.run / part.name)}.log", "redirect_stderr=true",
            "stdout_logfile_maxbytes=20MB", "stdout_logfile_backups=2",
        ]  # fmt: skip
        if environment:
            sections.append("environment=" + ",".join(f'{k}="{text(v)}"' for k, v in sorted(environment.items())))
        sections.append("")
    return "\n".join(sections)


class Supervision:
    """Client of one run's supervisord."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def _rpc(self) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._layout.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def alive(self) -> bool:
        """Return whether this run's supervisord responds."""
        if not self._layout.socket.exists():
            return False
        try:
            self._rpc.getState()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def launch(self, parts: Iterable[Part], ports: Mapping[str, int], environment: Mapping[str, str]) -> None:
        """Start supervisord, detached from the terminal, without starting a part.

        Raises
        ------
        PlatformError
            If it does not respond within 10 s.
        """
        path = self._layout.run / "supervisord.conf"
        path.write_text(supervisord_conf(self._layout, parts, ports))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("supervisord")), "-c", str(path)],
            env=dict(environment), capture_output=True, text=True, check=False,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not self.alive():
            if done.returncode or time.monotonic() > deadline:
                raise PlatformError(f"supervisord did not start: {(done.stderr + done.stdout).strip()[-500:]}")
            time.sleep(0.05)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's process info by part (statename, pid, description); empty when it does not run."""
        if not self.alive():
            return {}
        return {info["name"]: info for info in self._rpc.getAllProcessInfo()}

    def start(self, name: str) -> None:
        """Start a part unless it runs."""
        if self.states()[name]["statename"] not in RUNNING:
            self._rpc.startProcess(name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Stop parts at the same time and wait until all of them have ended."""
        wanted = [
            n for n, info in self.states().items() if n in set(names) and info["statename"] not in ("STOPPED",)
        ]
        for name in wanted:
            with contextlib.suppress(xmlrpc.client.Fault):  # it has ended already
                self._rpc.stopProcess(name, False)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            states = self.states()
            left = [n for n in wanted if states.get(n, {}).get("statename") in (*RUNNING, "STOPPING", "BACKOFF")]
            if not left:
                return
            for name in left:
                # One that was killed a moment before had ended, and was started again meanwhile.
                if states[name]["statename"] in RUNNING:
                    with contextlib.suppress(xmlrpc.client.Fault):
                        self._rpc.stopProcess(name, False)
            time.sleep(0.1)

    def shutdown(self) -> None:
        """Stop every part and then supervisord, and wait until it has ended."""
        if not self.alive():
            return
        pid = self._rpc.getPID()
        self._rpc.shutdown()
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(60)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the last lines of a part's log."""
        path = self._layout.run / f"{name}.log"
        if not path.exists():
            return "(no output)"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the living processes that carry this run's mark, without this process and its ancestors."""
    mine = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        try:
            if process.environ().get("WALRAS_RUN_OF") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
            continue
    return found


def end_leftovers(home: Path) -> list[str]:
    """End processes that a crash left running and return their names.

    They get SIGTERM and, after 5 s, SIGKILL.
    """
    leftovers = processes_of(home)
    names = []
    for process in leftovers:
        with contextlib.suppress(psutil.Error):
            names.append(f"{process.name()} ({process.pid})")
            process.terminate()
    _, remaining = psutil.wait_procs(leftovers, timeout=5)
    for process in remaining:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(remaining, timeout=5)
    return names


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; empty when it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_mb(pid: int) -> int:
    """Return the resident memory of a process and its descendants in MB, shared pages counted once per process."""
    total = 0
    for process in process_tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total >> 20
