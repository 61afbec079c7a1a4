"""The live view of a run in the terminal: price changes with their reasons.

``python -m jobs.console.live_view`` draws a screen that refreshes itself. Without a terminal, or with ``--plain``,
it prints a line whenever its figures change, for scripts and CI logs. ``--until-moved N --timeout S`` waits for N
price changes caused by evidence or by a rule over facts (not by a timer or an operator); the exit code is 0 if
they happened and 1 if not.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.console.market_view import MarketView
from jobs.console.price_changes import Change
from jobs.monitoring.component import ComponentHealth
from jobs.monitoring.health import component_health
from jobs.pricing.watcher.signals import signal_text
from jobs.runtime.settings import Settings
from schemas.money import Money

HEALTH_EVERY_S = 3.0


def direction(change: Change) -> str:
    """Return a price change as text: both prices and the relative change.

    >>> direction(Change("a/m/s", 1999, 1899, "USD", "", "", 0, 1, "d", True))
    '19.99 → 18.99 USD (−5.0 %)'
    """
    old = str(Money(change.old_minor, change.currency)).split(" ")[0]
    ratio = 100 * (change.new_minor / change.old_minor - 1)
    return f"{old} → {Money(change.new_minor, change.currency)} ({'+' if ratio > 0 else '−'}{abs(ratio):.1f} %)"


def latency_s(changes: Sequence[Change], speed: float) -> float | None:
    """Return the median wall seconds from a change's cause (fact or minute) to its decision; None without any.

    >>> latency_s([Change("a/m/s", 1, 2, "USD", "", "", 0, 1, "d", True, 6000)], speed=60)
    0.1
    """
    known = [change.latency_ms for change in changes if change.live and change.latency_ms is not None]
    return statistics.median(known) / speed / 1000 if known else None


def figures(view: MarketView, speed: float) -> list[tuple[str, str]]:
    """Return the figures of the top line, as name and text."""
    rates, latency = view.rates(), latency_s(view.changes(50), speed)
    return [
        ("events/s", f"{rates['events']:,.0f}"),
        ("cells/s", f"{rates['cell_rows']:,.0f}"),
        ("quotes/s", f"{rates.get('quotes', 0.0):,.0f}"),
        ("refused", f"{sum(view.rejected_codes.values()):,}"),
        ("repricings by evidence", f"{view.totals['triggers']:,}"),
        ("decisions", f"{view.totals['decisions']:,}"),
        ("price changes by evidence, rivals, stock or cost", f"{view.moved():,}"),
        ("from cause to decision (median)", "–" if latency is None else f"{latency:.2f} s"),
    ]


def plain_line(view: MarketView, health: Sequence[ComponentHealth], speed: float) -> str:
    """Return the state of the run in one line."""
    failing = [f"{each.name} ({each.note})" for each in health if not each.ok]
    line = "  ".join(f"{name} {value}" for name, value in figures(view, speed))
    line += "".join(f"  {each.name} {each.note}" for each in health if each.ok and each.notable)
    return (
        line + (f"  PROBLEM: {', '.join(failing)}" if failing else "") + (f"  {view.error}" if view.error else "")
    )


def plain_change(change: Change) -> str:
    """Return a price change as a line."""
    return f"price  {change.listing}  {direction(change)}  {change.why}"


def screen(view: MarketView, health: Sequence[ComponentHealth], settings: Settings, wall_s: float) -> Group:
    """Return the whole screen."""
    top = Text.assemble(("walras", "bold"), "   ")
    for name, value in figures(view, settings.run_clock.speed):
        top.append(value, "bold cyan").append(f" {name}   ", "dim")
    top.append(f"{wall_s:,.0f} s", "dim")
    state = Text()
    for each in health:
        state.append("● " if each.ok else "▲ ", "green" if each.ok else "bold red").append(each.name)
        shown = f" {each.note}   " if each.notable or not each.ok else "   "
        state.append(shown, "yellow" if each.ok else "red")
    if view.error:
        state.append("\n" + view.error, "red")
    page = f"http://{settings.console_host}:{settings.console_port}/"
    foot = Text.assemble(
        ("page: ", "dim"), (page, "underline"), ("    `walras keys link` signs in    Ctrl-C ends the run", "dim")
    )
    return Group(
        top, state,
        Panel(_changes(view), title="price changes and their reasons", title_align="left", border_style="dim"),
        Panel(_evidence(view), title="strongest evidence", title_align="left", border_style="dim"),
        foot,
    )  # fmt: skip


def _changes(view: MarketView, rows: int = 12) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True, ratio=3)
    table.add_column(no_wrap=True, ratio=3)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=6)
    for change in view.changes(rows):
        colour = "yellow" if change.new_minor > change.old_minor else "blue"
        table.add_row(change.listing.split("/", 1)[1], Text(direction(change), colour), change.why)
    if not table.row_count:
        table.add_row(
            Text(
                "none yet: a first price holds for an hour of run time (limits.min_gap_minutes); then prices "
                "change when demand, a competitor, stock, cost or an event changes",
                "dim",
            )
        )
    return table


def _evidence(view: MarketView, rows: int = 8, width: int = 24) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True, ratio=3)
    table.add_column(no_wrap=True, width=width)
    table.add_column(no_wrap=True, justify="right", width=10)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=4)
    top = view.top_evidence(rows)
    most = max((math.log1p(max(0.0, point["evidence"])) for point in top), default=0.0) or 1.0
    for point in top:
        bar = "█" * round(width * math.log1p(max(0.0, point["evidence"])) / most)
        word = signal_text(point["signal"], round(point["effect"], 2))
        style = "bold magenta" if point["triggered"] else "cyan"
        table.add_row(
            point["listing"].split("/", 1)[1], Text(bar, style), f"{point['evidence']:,.4g}",
            word + (", repricing started" if point["triggered"] else ""),
        )  # fmt: skip
    if not top:
        table.add_row(Text("none yet: the first closed minutes bring it", "dim"))
    return table


class HealthPoller:
    """Checks the components' health periodically on a thread of its own, so that a component that hangs blocks no
    view.
    """

    def __init__(self, settings: Settings, stopping: threading.Event) -> None:
        self.components: list[ComponentHealth] = []
        self._settings, self._stopping = settings, stopping
        self._tables = RedisPriceTables(settings.redis.get_secret_value())
        threading.Thread(target=self._ask, name="health", daemon=True).start()

    def _ask(self) -> None:
        while True:
            self.components = component_health(self._settings, self._tables)
            if self._stopping.wait(HEALTH_EVERY_S):
                return


def elapsed_seconds(stopping: threading.Event, every_s: float) -> Iterator[float]:
    """Yield wall seconds since the start, every ``every_s`` seconds until ``stopping`` is set."""
    began = time.monotonic()
    yield 0.0
    while not stopping.wait(every_s):
        yield time.monotonic() - began


class PlainOutput:
    """The plain view: prints each change once, and a line of figures when it differs from the previous one."""

    def __init__(self) -> None:
        self._until_s, self._line = 0.0, ""

    def write(self, console: Console, view: MarketView, health: Sequence[ComponentHealth], speed: float) -> None:
        """Print what is new."""
        for change in reversed(view.changes(100)):
            if change.live and change.seen_s > self._until_s:
                self._until_s = change.seen_s
                console.print(plain_change(change), markup=False)
        line = plain_line(view, health, speed)
        if line != self._line:
            console.print(line, markup=False)
        self._line = line


def run_live_view(settings: Settings, *, plain: bool, until_moved: int, timeout_s: float) -> int:
    """Show the run until ``until_moved`` prices have changed, the timeout has passed or a signal arrives.

    Returns
    -------
    int
        Exit code: 1 if ``until_moved`` was not reached, else 0.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    view = MarketView(settings.kafka)
    view.start()
    health = HealthPoller(settings, stopping)
    console = Console(highlight=False, soft_wrap=plain)
    plain_output = PlainOutput()
    live = contextlib.nullcontext() if plain else Live(console=console, screen=True, auto_refresh=False)
    try:
        with live as drawn:
            for wall_s in elapsed_seconds(stopping, 1.0 if plain else 0.5):
                if plain:
                    plain_output.write(console, view, health.components, settings.run_clock.speed)
                elif drawn is not None:
                    drawn.update(screen(view, health.components, settings, wall_s), refresh=True)
                if until_moved and view.moved() >= until_moved:
                    console.print(f"moved: {view.moved()} price changes by evidence or facts after {wall_s:.1f} s")
                    return 0
                if timeout_s and wall_s >= timeout_s:
                    break
    finally:
        stopping.set()
        view.close()
    if until_moved:
        console.print(f"expected {until_moved} price changes by evidence or facts, saw {view.moved()}")
        console.print(plain_line(view, health.components, settings.run_clock.speed))
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the view."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.console.live_view", description="The live view of a run."
    )
    parser.add_argument(
        "--plain", action="store_true", help="print lines instead of a screen (default without a terminal)"
    )
    moved = "exit with 0 once N prices have changed on evidence or rules, with 1 if they have not"
    parser.add_argument("--until-moved", type=int, default=0, metavar="N", help=moved)
    parser.add_argument("--timeout", type=float, default=0.0, metavar="S", help="exit after S wall seconds")
    given = parser.parse_args(argv)
    return run_live_view(
        Settings.load(),
        plain=given.plain or not sys.stdout.isatty(),
        until_moved=given.until_moved,
        timeout_s=given.timeout,
    )


if __name__ == "__main__":
    sys.exit(main())
