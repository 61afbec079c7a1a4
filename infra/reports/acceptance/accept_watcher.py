"""Acceptance of the watcher: every line of the table of science § 6, by simulation.

The program runs the Watcher of repricing_job, compares each figure with its limit, and writes accept_watcher.json
and the picture accept_watcher.png (z-test every minute, fixed hourly schedule, tuned CUSUM). ``--quick`` uses
fewer streams and minutes and three times wider limits: it detects a regression by an order of magnitude.

The simulated streams and the tests that run on them are in :mod:`infra.reports.acceptance.simulated_streams`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from infra.reports.acceptance.simulated_streams import (
    DAY,
    SHIFTS,
    WEEK,
    FirstPassage,
    Size,
    Streams,
    Triggers,
    clear_evidence,
    run_length,
    watcher_with_known_null,
    watcher_with_learned_null,
)
from infra.reports.acceptance.watcher_comparison import compare, draw
from infra.reports.acceptance.watcher_fairness import fairness
from infra.reports.program import Program, UsageError
from infra.reports.report import Figure, Limit, Report, provenance, write_json
from jobs.pricing.watcher import Minute, Watcher, WatcherSettings

WIDER = 3.0
"""Factor of the limits in the quick form, whose samples are small."""


def add(report: Report, size: Size, name: str, claim: str, value: float, limit: Limit) -> None:
    """Add a figure of a sample with its limit, which is widened in the quick form."""
    applied = limit.widened(WIDER) if size.quick and value > 1e-3 else limit
    report.add(Figure(name, value, limit=applied, claim=claim))


def triggers_of(watcher: Watcher) -> Triggers:
    """Return the function that passes a minute to a watcher and returns which listings triggered."""
    return lambda minute: watcher.step(minute).triggered


def accept_fairness(report: Report) -> None:
    """Measure E exp ℓ under the null, by summed probabilities."""
    exact, within = fairness()
    claim = "|E exp l - 1| at epsilon = 0, all signals"
    report.add(
        Figure("fairness_exact", exact, limit=Limit(at_most=1e-10), claim=claim),
        Figure("fairness_band", within, limit=Limit(at_most=1.0 + 1e-12), claim="E exp l within the band"),
    )


def accept_known(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Measure average run lengths with an exactly known null and a daily season of ±50 %."""
    short = replace(settings, false_alarm_every=1_000.0)
    ticks = 2_500 if size.quick else 4_000
    for rate in (1.0,) if size.quick else (0.2, 1.0, 5.0):
        streams = Streams(size.streams, rate, seed)
        passage = run_length(streams, triggers_of(watcher_with_known_null(streams, short)), ticks)
        claim = f"ARL, known null, A = 1,000, {rate:g} orders/min"
        add(report, size, f"arl_known_1000_{rate:g}", claim, passage.mean, Limit(1_300.0, 2_000.0))
    if size.quick:
        return
    for rate in (0.2, 1.0, 5.0):
        streams = Streams(size.streams, rate, seed + 1)
        passage = run_length(streams, triggers_of(watcher_with_known_null(streams, settings)), size.ticks)
        claim = f"ARL, known null, A = 10,080, {rate:g} orders/min"
        add(report, size, f"arl_known_{rate:g}", claim, passage.mean, Limit(at_least=10_080.0))


def accept_delays(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Measure mean delays at one order per minute with a known null, after half a day without a shift.

    A stream that triggered in that half day is not counted: it was learned again from a few minutes, so its null
    is not the known one. A delay is the mean on the condition that no alarm preceded the shift.
    """
    delays = {}
    for name, factor, odds, limit in SHIFTS:
        streams = Streams(size.streams, 1.0, seed, seasonal=False)
        watcher = watcher_with_known_null(streams, settings)
        alarmed = np.zeros(size.streams, dtype=bool)
        for _ in range(200 if size.quick else DAY // 2):
            alarmed |= watcher.step(streams.minute()).triggered
        ticks = 1_000 if size.quick else 2 * DAY
        passage = run_length(streams, triggers_of(watcher), ticks, factor, odds, ~alarmed)
        delays[name] = passage.mean_of(~alarmed)
        claim = f"mean delay, {name}, known null"
        add(report, size, f"delay_{name}", claim, delays[name], Limit(at_most=limit))
    report.data["delays"] = delays


def accept_dispersion(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Measure the run length of overdispersed counts with learned φ, and with the Poisson model as control."""
    short = replace(settings, false_alarm_every=1_000.0)
    streams = Streams(size.streams, 1.0, seed, phi=2.0)
    watcher = watcher_with_learned_null(streams, short, (2 if size.quick else 7) * DAY)
    report.data["phi_learned_at_2"] = float(watcher.null.state["phi"].mean())
    clear_evidence(watcher)
    passage = run_length(streams, triggers_of(watcher), 1_000 if size.quick else 6_000)
    claim = "ARL, phi = 2 learned with all else, A = 1,000"
    add(report, size, "arl_dispersed", claim, passage.mean, Limit(at_least=1_000.0))
    streams = Streams(size.streams, 1.0, seed, phi=2.0)
    poisson = watcher_with_known_null(streams, short)
    passage = run_length(streams, triggers_of(poisson), 1_000 if size.quick else 3_000)
    claim = "the same taken for Poisson (negative control)"
    add(report, size, "arl_dispersed_poisson", claim, passage.mean, Limit(at_most=500.0))


def accept_wander(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Measure the average run length when the rate varies slowly, which the block estimate of φ covers."""
    streams = Streams(size.streams, 1.0, seed, wander_sd=0.15)
    watcher = watcher_with_learned_null(streams, settings, 14 * DAY)
    report.data["phi_learned_wander"] = float(watcher.null.state["phi"].mean())
    clear_evidence(watcher)
    passage = run_length(streams, triggers_of(watcher), size.ticks)
    claim = "ARL, rate wanders (log-AR sd .15, 120 min), all learned"
    add(report, size, "arl_wander", claim, passage.mean, Limit(at_least=10_080.0))


def accept_shifts(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Measure delays, triggers after a permanent shift, and a week of learning again, with everything learned."""
    days = 2 if size.quick else 14
    streams = Streams(size.streams, 1.0, seed, seasonal=False)
    watcher = watcher_with_learned_null(streams, settings, days * DAY)
    report.data["phi_learned_poisson"] = float(watcher.null.state["phi"].mean())
    learned, since = watcher.snapshot(), streams.t
    worst_day, worst_week, delays = 0.0, 0.0, {}
    for name, factor, odds, limit in SHIFTS:
        watcher.restore(learned)
        streams.t, streams.rng = since, np.random.default_rng(seed + 1)
        passage, in_day, tick = FirstPassage(size.streams), 0, 0
        while tick < DAY or (passage.alarms < size.streams and tick < 2 * DAY and not size.quick):
            triggered = watcher.step(streams.minute(factor, odds)).triggered
            passage.take(triggered)
            in_day += int(triggered.sum()) if tick < DAY else 0
            tick += 1
        delays[name] = passage.mean
        claim = f"mean delay, {name}, all learned in {days} days (known null: ≤ {limit:g})"
        print(Figure(name, passage.mean, claim=claim).line(), flush=True)
        worst_day = max(worst_day, in_day / size.streams)
        report.data[f"triggers_first_day_{name}"] = in_day / size.streams
        if factor in (0.5, 2.0) and not size.quick:
            in_week = sum(int(watcher.step(streams.minute(factor, odds)).triggered.sum()) for _ in range(WEEK))
            worst_week = max(worst_week, in_week / size.streams)
        elif size.quick and factor == 0.5:
            break
    report.data["delays_all_learned"] = delays
    claim = "triggers in a lasting shift's first day, worst"
    add(report, size, "lasting_shift", claim, worst_day, Limit(at_most=1.1))
    if not size.quick:
        claim = "triggers in the null week after a re-learned level, worst"
        add(report, size, "relearned_week", claim, worst_week, Limit(at_most=1.0))


def accept_gap(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Check that 500 minutes without a batch leave the evidence unchanged."""
    streams = Streams(20, 1.0, seed)
    watcher = watcher_with_learned_null(streams, settings, DAY)
    before = watcher.detectors.state["evidence"].copy()
    for _ in range(500):
        watcher.step(absent(streams.minute()))
    changed = int((watcher.detectors.state["evidence"] != before).sum())
    add(report, size, "gap", "bits of evidence changed by a 500-minute gap", float(changed), Limit(at_most=0.0))


def absent(minute: Minute) -> Minute:
    """Return the same minute marked as missing for every listing."""
    return replace(minute, present=np.zeros(len(minute.orders), dtype=bool))


def accept_cost(report: Report, size: Size, settings: WatcherSettings, seed: int) -> None:
    """Measure the processor time per listing and minute in blocks of 10,000 listings."""
    streams = Streams(10_000, 1.0, seed)
    watcher = Watcher(settings, streams.count)
    minutes = [streams.minute() for _ in range(110)]
    seconds = []
    for minute in minutes:
        start = time.process_time()
        watcher.step(minute)
        seconds.append(time.process_time() - start)
    micros = float(np.median(seconds[70:]) / streams.count * 1e6)
    claim = "microseconds per listing and minute, blocks of 10,000"
    add(report, size, "cost", claim, micros, Limit(at_most=0.5))


def measure(size: Size, *, seed: int = 20_260, only: str = "") -> Report:
    """Measure every figure, or those of the experiments named in ``only``, separated by commas.

    Raises
    ------
    UsageError
        If ``only`` names an unknown experiment.
    """
    settings = WatcherSettings()
    report = Report("accept-watcher")
    experiments: dict[str, Callable[[], None]] = {
        "fairness": lambda: accept_fairness(report),
        "gap": lambda: accept_gap(report, size, settings, seed),
        "cost": lambda: accept_cost(report, size, settings, seed),
        "delays": lambda: accept_delays(report, size, settings, seed + 60),
        "known": lambda: accept_known(report, size, settings, seed + 20),
        "dispersion": lambda: accept_dispersion(report, size, settings, seed + 30),
        "shifts": lambda: accept_shifts(report, size, settings, seed + 10),
        "wander": lambda: accept_wander(report, size, settings, seed + 40),
        "compare": lambda: compare(report, size, seed + 50),
    }
    if size.quick:
        del experiments["wander"]
    names = only.split(",") if only else list(experiments)
    unknown = [name for name in names if name not in experiments]
    if unknown:
        raise UsageError(f"--only: expected some of {', '.join(experiments)}; got {', '.join(unknown)}")
    began = time.monotonic()
    for name in names:
        experiments[name]()
    report.data |= {"parts": names, "seconds": round(time.monotonic() - began, 1), "seed": seed}
    return report


def write(report: Report, size: Size, folder: Path) -> None:
    """Write accept_watcher.json and, if the comparison was run, accept_watcher.png."""
    data = dict(report.data)
    document = {
        **provenance(),
        "quick": size.quick,
        "parts": data.pop("parts"),
        "streams": size.streams,
        "seed": data.pop("seed"),
        "seconds": data.pop("seconds"),
        "accepted": report.ok,
        "figures": {figure.name: recorded_figure(figure) for figure in report.figures},
        "data": data,
    }
    write_json(folder / "accept_watcher.json", document)
    if "comparison" in data:
        draw(data["comparison"], folder)


def recorded_figure(figure: Figure) -> dict[str, Any]:
    """Return a figure in the form of accept_watcher.json."""
    limit = figure.limit or Limit()
    return {
        "claim": figure.claim,
        "value": figure.value,
        "at_least": limit.at_least,
        "at_most": limit.at_most,
        "accepted": figure.ok,
    }


class AcceptWatcher(Program):
    """Simulate streams of orders and compare the watcher's figures with the table of science § 6."""

    name = "accept-watcher"
    summary = "the watcher by simulation, with its picture (half an hour)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--quick", action="store_true", help="fewer streams, wider limits (seconds)")
        parser.add_argument(
            "--out", type=Path, default=Path(".walras/reports"), help="folder of accept_watcher.json and .png"
        )
        parser.add_argument("--streams", type=int, help="number of streams (default 2000, --quick 60)")
        parser.add_argument("--seed", type=int, default=20_260, help="seed of the simulation")
        parser.add_argument("--only", default="", help="some experiments, comma-separated, e.g. delays,known")

    def run(self, options: argparse.Namespace) -> Report:
        """Run the experiments."""
        size = Size.of(quick=options.quick, streams=options.streams)
        report = measure(size, seed=options.seed, only=options.only)
        write(report, size, options.out)
        print(f"written: {options.out}/accept_watcher.json")
        return report
