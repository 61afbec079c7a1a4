"""Command line of the local platform: ``python -m infra.local``."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local.calibration import choose_once, fixed_settings
from infra.local.errors import PlatformError
from infra.local.parts import PARTS
from schemas.topics import INPUTS

DEFAULT_SPEED = 60.0
"""Speed of a run without a simulated market, where the clock drives ticks only."""
MAX_SUBTASKS = max(topic.partitions for topic in INPUTS)
"""Further subtasks of a source would have no partition to read."""


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown part {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    return names


def parser() -> argparse.ArgumentParser:
    """Return the argument parser with every command and its options."""
    top = argparse.ArgumentParser(
        prog="python -m infra.local", description="The local platform, without containers."
    )
    top.add_argument(
        "--home", type=Path, default=Path(os.environ.get("WALRAS_HOME", ".walras")), help="state folder"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (("up", "start all parts and jobs"), ("run", "up, then the live view; down at Ctrl-C")):
        up = commands.add_parser(name, help=text)
        which = up.add_mutually_exclusive_group()
        which.add_argument("--only", type=_names, metavar="PARTS", help=f"comma-separated, of: {', '.join(PARTS)}")
        which.add_argument("--without", type=_names, metavar="PARTS", default=[], help="all parts except these")
        up.add_argument(
            "--jobs", metavar="NAMES", help="jobs to submit, comma-separated; '' for none; default: all"
        )
        up.add_argument(
            "--speed",
            type=float,
            help="market seconds per wall second (1: wall clock); default: chosen at the first start from a "
            f"measurement of this machine; {DEFAULT_SPEED:g} without a simulated market",
        )
        up.add_argument(
            "--checkpoint-interval",
            type=float,
            default=20.0,
            metavar="S",
            help="wall seconds between checkpoints (default 20)",
        )
        up.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a setting of the run without the prefix WALRAS_ (CLOCK=data, BUCKETS=2); may be repeated",
        )
        up.add_argument(
            "--parallelism",
            type=int,
            default=min(MAX_SUBTASKS, max(1, (os.cpu_count() or 2) // 2)),
            help="subtasks of every operator (default: half the number of cores, at most the number of partitions "
            "of an input; %(default)s here)",
        )
    commands.add_parser("down", help="stop the parts that up started")
    status = commands.add_parser("status", help="state of parts and jobs; exit code 1 when one is unhealthy")
    status.add_argument("--json", action="store_true", help="print JSON")
    logs = commands.add_parser("logs", help="print the logs of the parts")
    logs.add_argument("part", nargs="?", help="one part only")
    logs.add_argument("-f", "--follow", action="store_true", help="follow the logs until Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=40, help="lines per part (default 40)")
    for name, text in (
        ("start", "start a part"),
        ("stop", "stop a part until it is started again"),
        ("restart", "stop and start a part"),
    ):
        commands.add_parser(name, help=text).add_argument("part", choices=list(PARTS))
    wait = commands.add_parser("wait", help="wait until parts are ready and jobs run")
    wait.add_argument("parts", nargs="*", help="default: all parts that are not stopped")
    wait.add_argument("--jobs", default="", help="comma-separated")
    wait.add_argument("--timeout", type=float, default=120.0, metavar="S")
    commands.add_parser("submit", help="submit jobs that are not active").add_argument("jobs", nargs="*")
    commands.add_parser("jars", help="fetch the jars and verify every checksum")
    commands.add_parser("clean", help="down, then delete all state except the environment and the jars")
    return top


def _up(platform: object, args: argparse.Namespace) -> None:
    from infra.local.platform import Platform

    assert isinstance(platform, Platform)
    names = args.only or [name for name in PARTS if name not in args.without]
    job_names = None if args.jobs is None else [name for name in args.jobs.split(",") if name]
    extra = dict(pair.split("=", 1) for pair in args.set)
    previous_env = platform.layout.read_env()
    extra = fixed_settings(previous_env) | extra
    speed, quick_compiler = args.speed, False
    if speed is None:
        speed = DEFAULT_SPEED
        if "simulate" in names and "CLOCK" not in extra and not platform.supervision.alive():
            choice, new = choose_once(platform.layout.run / "market.json", previous_env)
            speed, quick_compiler = choice.market.speed, choice.market.quick_compiler
            extra = choice.market.settings() | extra
            origin = "SPEED=60 overrides" if new else "chosen at the first start; SPEED=60 overrides"
            print(f"market      {choice.summary()} ({origin})", flush=True)
    platform.up(
        names,
        job_names=job_names,
        speed=speed,
        checkpoint_interval_s=args.checkpoint_interval,
        parallelism=args.parallelism,
        extra=extra,
        quick_compiler=quick_compiler,
    )


def _run(platform: object, args: argparse.Namespace) -> int:
    """Start the platform, show the live view until Ctrl-C, stop the platform in any case."""
    from infra.local.platform import Platform

    assert isinstance(platform, Platform)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    code = 0
    try:
        _up(platform, args)
        view = subprocess.Popen([sys.executable, "-m", "jobs.console.live_view"], env=platform.environment())
        try:
            code = view.wait()
        except KeyboardInterrupt:
            # The terminal sends Ctrl-C to the view as well; a signal to this process alone does not reach it.
            view.terminate()
            view.wait(30)
    except KeyboardInterrupt:
        code = 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("\nstopping …", flush=True)
        platform.down()
        print("stopped; `make run` resumes this run, `make clean` deletes its state", flush=True)
    return code


def _logs(home: Path, args: argparse.Namespace) -> int:
    files = [home / "run" / f"{name}.log" for name in ([args.part] if args.part else PARTS)]
    existing = [str(path) for path in files if path.exists()]
    if not existing:
        raise PlatformError(
            f"no log of {args.part or 'any part'} under {home / 'run'}; start the platform with `make up`"
        )
    follow = ["-F"] if args.follow else []
    try:
        return subprocess.run(["tail", "-n", str(args.lines), *follow, *existing], check=False).returncode
    except KeyboardInterrupt:
        return 0


def dispatch(args: argparse.Namespace) -> int:
    """Execute a parsed command and return the exit code."""
    if args.command == "logs":
        return _logs(args.home, args)
    if args.command == "jars":
        from infra.local.config import Layout
        from infra.local.machine import jars

        fetched = jars.fetch(Layout(args.home.absolute()).jars, check_all=True)
        print(f"[jars] {len(fetched)} jars, all checksums verified")
        return 0
    from infra.local.platform import Platform
    from infra.local.status import is_healthy, status_json, status_text

    platform = Platform(args.home)
    match args.command:
        case "up":
            _up(platform, args)
        case "run":
            return _run(platform, args)
        case "down":
            print("stopped" if platform.down() else f"no part was running under {platform.layout.home}")
        case "status":
            status = platform.status()
            print(status_json(status) if args.json else status_text(status))
            return 0 if is_healthy(status) else 1
        case "start" | "stop" | "restart":
            getattr(platform, args.command)(args.part)
        case "wait":
            up = [name for name, info in platform.supervision.states().items() if info["statename"] != "STOPPED"]
            platform.wait(args.parts or up, [n for n in args.jobs.split(",") if n], args.timeout)
        case "submit":
            from jobs.registry import JOBS

            for name, job_id in platform.submit(args.jobs or list(JOBS)).items():
                print(f"submitted {name} {job_id}")
        case "clean":
            print(f"removed {', '.join(platform.clean()) or 'nothing'} under {platform.layout.home}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    A :class:`PlatformError` is printed without a traceback.
    """
    args = parser().parse_args(argv)
    try:
        return dispatch(args)
    except PlatformError as error:
        print(f"walras: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
