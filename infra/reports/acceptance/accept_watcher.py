"""Every line of science § 6's table, simulated through the very Watcher that repricing_job runs.

    python -m infra.reports.acceptance.accept_watcher [--quick] [--out FOLDER] [--streams N] [--seed N]

Prints each figure beside its limit, writes accept_watcher.json and the comparison picture
accept_watcher.png (z-test every minute, fixed hourly schedule, tuned CUSUM), and ends with 1 if a
line is missed. ``--quick`` takes fewer streams and minutes and wider limits: it finds a regression of
an order of magnitude, not a lost per cent.

The streams and those who watch them are :mod:`infra.reports.acceptance.streams`. Over 300 lines: one experiment
for each line of the table, which a reader checks against it, their picture and their command.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from infra.reports.acceptance.streams import (
    DAY,
    SHIFTS,
    UNIT_MEAN,
    UNIT_VARIANCE,
    WEEK,
    Cusum,
    FirstPassage,
    Streams,
    ZTest,
    forget_evidence,
    knowing,
    learning,
    run_length,
)
from jobs.pricing.watcher import SIGNALS, Minute, Watcher, WatcherSettings
from jobs.pricing.watcher.signals.base import Observation, Spread


def fairness() -> tuple[float, float]:
    """Largest |E exp ℓ − 1| at ε = 0 and largest E exp ℓ within the band, by summed probabilities."""
    exact, within = 0.0, 0.0
    for signal in (cls() for cls in SIGNALS):
        for mean in (0.2, 1.0, 5.0):
            for phi in (1.0, 1.2, 2.0, 5.0):
                for epsilon in (0.0, 0.05, 0.3):
                    edges = (1.0,) if epsilon == 0 else (1 / (1 + epsilon), 1.0, 1 + epsilon)
                    for edge in edges:
                        value = expected_factors(signal, mean, edge, epsilon, phi)
                        if epsilon == 0:
                            exact = max(exact, float(np.abs(value - 1.0).max()))
                        else:
                            within = max(within, float(value.max()))
    return exact, within


def expected_factors(signal: Any, mean: float, edge: float, epsilon: float, phi: float) -> np.ndarray:
    """E exp ℓ of each effect when the truth is ``edge`` times the forecast (for shares: p moved by ε)."""
    orders = np.arange(900)
    true_mean = mean * edge
    if phi > 1.0:
        weights = stats.nbinom.pmf(orders, true_mean / (phi - 1.0), 1.0 / phi)
    else:
        weights = stats.poisson.pmf(orders, true_mean)
    counts = orders.astype(float)
    units = counts
    searches = abandoned = np.zeros_like(counts)
    share, share_epsilon = 0.7, 0.0
    if signal.name == "stock_pressure":
        keep = orders[weights > 1e-18]
        weights = (
            weights[keep][:, None] * stats.poisson.pmf(np.arange(300)[None, :], (UNIT_MEAN - 1) * keep[:, None])
        ).ravel()
        units = (keep[:, None] + np.arange(300)[None, :]).ravel().astype(float)
        counts = np.zeros_like(units)
        searches = abandoned = np.zeros_like(units)
    elif signal.name == "abandonment":
        n = 12
        share_epsilon = 0.1 * epsilon
        truth = share + share_epsilon * np.sign(edge - 1.0)
        abandoned = np.arange(n + 1.0)
        weights = stats.binom.pmf(abandoned, n, truth)
        searches = np.full(n + 1, float(n))
        counts = units = np.zeros(n + 1)
    one = np.ones_like(counts)
    look = Observation(
        counts,
        mean * one,
        epsilon * one,
        units,
        mean * one,
        epsilon * one,
        searches,
        abandoned,
        share * one,
        share_epsilon * one,
    )
    out = np.empty((len(signal.effects), len(counts)))
    signal.increments(look, signal.tilts(Spread(phi * one, UNIT_MEAN * one, UNIT_VARIANCE * one)), out)
    return np.asarray(np.exp(out) @ weights)


@dataclass
class Report:
    """Figures beside their limits, printed as they come."""

    quick: bool
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def line(
        self, name: str, claim: str, value: float, at_least: float = -math.inf, at_most: float = math.inf
    ) -> None:
        """Take one figure; with ``--quick`` limits are three times as wide (a sample of few streams)."""
        loose = 3.0 if self.quick and value > 1e-3 else 1.0
        low = at_least if not math.isfinite(at_least) else at_least / loose
        ok = low <= value <= at_most * loose
        self.figures[name] = {
            "claim": claim,
            "value": value,
            "at_least": at_least if math.isfinite(at_least) else None,
            "at_most": at_most if math.isfinite(at_most) else None,
            "accepted": bool(ok),
        }
        limits = [f">= {at_least:g}"] * math.isfinite(at_least) + [f"<= {at_most:g}"] * math.isfinite(at_most)
        print(f"{'accept' if ok else 'FAIL  '}  {claim:<62} {value:>14.6g}   {', '.join(limits)}", flush=True)

    def beside(self, claim: str, value: float, limit: float) -> None:
        """Show a figure that the table does not ask for next to the limit of the one that it does."""
        print(f"beside  {claim:<62} {value:>14.6g}   (limit of the known null: {limit:g})", flush=True)

    @property
    def accepted(self) -> bool:
        """Whether every line is."""
        return all(figure["accepted"] for figure in self.figures.values())


def accept_fairness(report: Report) -> None:
    """E exp ℓ by summed probabilities."""
    exact, within = fairness()
    report.line("fairness_exact", "|E exp l - 1| at epsilon = 0, all signals", exact, at_most=1e-10)
    report.line("fairness_band", "E exp l within the band", within, at_most=1.0 + 1e-12)


def accept_known(report: Report, settings: WatcherSettings, count: int, ticks: int, seed: int) -> None:
    """Run lengths where the null is known exactly, with a daily season of ±50 %."""
    small = replace(settings, false_alarm_every=1_000.0)
    for rate in (1.0,) if report.quick else (0.2, 1.0, 5.0):
        streams = Streams(count, rate, seed)
        watcher = knowing(streams, small)
        passage = run_length(streams, lambda m, w=watcher: w.step(m).triggered, 2_500 if report.quick else 4_000)  # type: ignore[misc]
        claim = f"ARL, known null, A = 1,000, {rate:g} orders/min"
        report.line(f"arl_known_1000_{rate:g}", claim, passage.mean, at_least=1_300.0, at_most=2_000.0)
    if report.quick:
        return
    for rate in (0.2, 1.0, 5.0):
        streams = Streams(count, rate, seed + 1)
        watcher = knowing(streams, settings)
        passage = run_length(streams, lambda m, w=watcher: w.step(m).triggered, ticks)  # type: ignore[misc]
        report.line(
            f"arl_known_{rate:g}", f"ARL, known null, A = 10,080, {rate:g} orders/min", passage.mean, 10_080.0
        )


def accept_delays(report: Report, settings: WatcherSettings, count: int, seed: int) -> None:
    """Delays at one order a minute all day, known null, evidence as it stands after half a day of nothing.

    A stream that triggered in that half day is not counted: it was re-learned from a few minutes, so its
    null is no longer the known one (a delay is the mean given that no alarm came before the shift).
    """
    delays = {}
    for name, factor, odds, limit in SHIFTS:
        streams = Streams(count, 1.0, seed, seasonal=False)
        watcher = knowing(streams, settings)
        alarmed = np.zeros(count, dtype=bool)
        for _ in range(200 if report.quick else DAY // 2):
            alarmed |= watcher.step(streams.minute()).triggered
        ticks = 1_000 if report.quick else 2 * DAY
        passage = run_length(streams, lambda m, w=watcher: w.step(m).triggered, ticks, factor, odds, ~alarmed)  # type: ignore[misc]
        delays[name] = passage.mean_of(~alarmed)
        report.line(f"delay_{name}", f"mean delay, {name}, known null", delays[name], at_most=limit)
    report.data["delays"] = delays


def accept_dispersion(report: Report, settings: WatcherSettings, count: int, days: int, seed: int) -> None:
    """Overdispersed counts: φ learned, and the Poisson model as negative control."""
    small = replace(settings, false_alarm_every=1_000.0)
    streams = Streams(count, 1.0, seed, phi=2.0)
    watcher = learning(streams, small, days * DAY)
    report.data["phi_learned_at_2"] = float(watcher.null.state["phi"].mean())
    forget_evidence(watcher)
    passage = run_length(streams, lambda m: watcher.step(m).triggered, 1_000 if report.quick else 6_000)
    report.line("arl_dispersed", "ARL, phi = 2 learned with all else, A = 1,000", passage.mean, at_least=1_000.0)
    streams = Streams(count, 1.0, seed, phi=2.0)
    control = knowing(streams, small)
    passage = run_length(streams, lambda m: control.step(m).triggered, 1_000 if report.quick else 3_000)
    report.line(
        "arl_dispersed_poisson", "the same taken for Poisson (negative control)", passage.mean, at_most=500.0
    )


def accept_wander(report: Report, settings: WatcherSettings, count: int, days: int, ticks: int, seed: int) -> None:
    """A rate that wanders slowly: what only the block estimate sees."""
    streams = Streams(count, 1.0, seed, wander_sd=0.15)
    watcher = learning(streams, settings, days * DAY)
    report.data["phi_learned_wander"] = float(watcher.null.state["phi"].mean())
    forget_evidence(watcher)
    passage = run_length(streams, lambda m: watcher.step(m).triggered, ticks)
    report.line("arl_wander", "ARL, rate wanders (log-AR sd .15, 120 min), all learned", passage.mean, 10_080.0)


def accept_shifts(report: Report, settings: WatcherSettings, count: int, days: int, seed: int) -> None:
    """With all learned: delays, triggers after a lasting shift, and a week of re-learning."""
    streams = Streams(count, 1.0, seed, seasonal=False)
    watcher = learning(streams, settings, days * DAY)
    report.data["phi_learned_poisson"] = float(watcher.null.state["phi"].mean())
    learned, since = watcher.snapshot(), streams.t
    worst_day, worst_week, delays = 0.0, 0.0, {}
    for name, factor, odds, limit in SHIFTS:
        watcher.restore(learned)
        streams.t, streams.rng = since, np.random.default_rng(seed + 1)
        passage, in_day, tick = FirstPassage(count), 0, 0
        while tick < DAY or (passage.alarms < count and tick < 2 * DAY and not report.quick):
            triggered = watcher.step(streams.minute(factor, odds)).triggered
            passage.take(triggered)
            in_day += int(triggered.sum()) if tick < DAY else 0
            tick += 1
        delays[name] = passage.mean
        report.beside(f"mean delay, {name}, all learned in {days} days", passage.mean, limit)
        worst_day = max(worst_day, in_day / count)
        report.data[f"triggers_first_day_{name}"] = in_day / count
        if factor in (0.5, 2.0) and not report.quick:
            in_week = sum(int(watcher.step(streams.minute(factor, odds)).triggered.sum()) for _ in range(WEEK))
            worst_week = max(worst_week, in_week / count)
        elif report.quick and factor == 0.5:
            break
    report.data["delays_all_learned"] = delays
    report.line("lasting_shift", "triggers in a lasting shift's first day, worst", worst_day, at_most=1.1)
    if not report.quick:
        claim = "triggers in the null week after a re-learned level, worst"
        report.line("relearned_week", claim, worst_week, at_most=1.0)


def accept_gap(report: Report, settings: WatcherSettings, seed: int) -> None:
    """500 minutes whose batch is missing change no bit of the evidence."""
    streams = Streams(20, 1.0, seed)
    watcher = learning(streams, settings, DAY)
    before = watcher.detectors.state["evidence"].copy()
    for _ in range(500):
        watcher.step(replace_present(streams.minute(), False))
    changed = int((watcher.detectors.state["evidence"] != before).sum())
    report.line("gap", "bits of evidence changed by a 500-minute gap", float(changed), at_most=0.0)


def replace_present(minute: Minute, present: bool) -> Minute:
    """The same minute, present or missing for all."""
    return replace(minute, present=np.full(len(minute.orders), present))


def accept_cost(report: Report, settings: WatcherSettings, seed: int) -> None:
    """Processor time per listing and minute in blocks of 10,000."""
    streams = Streams(10_000, 1.0, seed)
    watcher = Watcher(settings, streams.count)
    minutes = [streams.minute() for _ in range(110)]
    took = []
    for minute in minutes:
        start = time.process_time()
        watcher.step(minute)
        took.append(time.process_time() - start)
    micros = float(np.median(took[70:]) / streams.count * 1e6)
    report.line("cost", "microseconds per listing and minute, blocks of 10,000", micros, at_most=0.5)


def compare(report: Report, count: int, ticks: int, seed: int) -> None:
    """The usual tests on streams of the same kind, which they know exactly."""
    streams = Streams(count, 1.0, seed)
    z = run_length(streams, ZTest(streams).step, min(ticks, 3_000)).mean
    streams = Streams(count, 1.0, seed)
    limits = np.array([3.0, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0])
    cusum = Cusum(streams, limits)
    for _ in range(ticks):
        cusum.step(streams.minute())
    lengths = np.array([passage.mean for passage in cusum.passages])
    tuned = float(np.exp(np.interp(math.log(10_080.0), np.log(lengths), np.log(limits))))
    delays: dict[str, dict[str, float]] = {"z_test": {}, "cusum": {}, "hourly_schedule": {}}
    for name, factor, odds, _ in SHIFTS:
        for label in ("z_test", "cusum"):
            streams = Streams(count, 1.0, seed + 2, seasonal=False)
            test = ZTest(streams) if label == "z_test" else Cusum(streams, np.array([tuned]))
            for _ in range(30):
                test.step(streams.minute())
            delays[label][name] = run_length(
                streams, test.step, 600 if report.quick else 2 * DAY, factor, odds
            ).mean
        delays["hourly_schedule"][name] = 30.0
    week = {"z_test": WEEK / z, "cusum": WEEK / 10_080.0, "hourly_schedule": 168.0}
    if "arl_known_1" in report.figures:
        week["watcher"] = WEEK / report.figures["arl_known_1"]["value"]
    else:
        week["watcher"] = WEEK / 10_080.0
    delays["watcher"] = report.data["delays"]
    report.data["comparison"] = {
        "false_repricings_a_week": week,
        "mean_delay_minutes": delays,
        "cusum_limit_tuned": tuned,
        "z_test_run_length": z,
    }
    print(f"        z-test each minute at 1.96: a false alarm every {z:.0f} min; CUSUM limit tuned to {tuned:.2f}")


def draw(report: Report, folder: Path) -> None:
    """The comparison as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    comparison = report.data["comparison"]
    labels = {
        "watcher": "Walras, known rate",
        "cusum": "CUSUM, known rate, tuned",
        "z_test": "z-test each minute",
        "hourly_schedule": "fixed hourly schedule",
    }
    colours = {"watcher": "#1b6ca8", "cusum": "#7a9a01", "z_test": "#c8553d", "hourly_schedule": "#8a8a8a"}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    names = [name for name, *_ in SHIFTS]
    for k, (label, title) in enumerate(labels.items()):
        heights = [comparison["mean_delay_minutes"][label][name] for name in names]
        left.bar(np.arange(len(names)) + 0.2 * (k - 1.5), heights, 0.2, label=title, color=colours[label])
    left.set_xticks(range(len(names)), [name.replace(" with ", "\nwith ") for name in names])
    left.set_ylabel("mean minutes until seen (1 order a minute)")
    left.legend(frameon=False, fontsize=8)
    bars = [comparison["false_repricings_a_week"][label] for label in labels]
    right.barh(list(labels.values()), bars, color=[colours[label] for label in labels])
    right.set_xscale("log")
    right.invert_yaxis()
    right.set_xlabel("re-pricings a week while nothing changed (log scale)")
    for y, bar in enumerate(bars):
        right.text(bar * 1.05, y, f"{bar:.2g}", va="center", fontsize=9)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "accept_watcher.png", dpi=130)
    pyplot.close(figure)


def accept(quick: bool, out: Path, streams: int | None = None, seed: int = 20_260, only: str = "") -> Report:
    """Run every line (or those parts named in ``only``), write the report and the picture."""
    settings = WatcherSettings()
    report = Report(quick)
    count = streams or (60 if quick else 2_000)
    horizon = 1_500 if quick else 15_000
    parts: dict[str, Callable[[], None]] = {
        "fairness": lambda: accept_fairness(report),
        "gap": lambda: accept_gap(report, settings, seed),
        "cost": lambda: accept_cost(report, settings, seed),
        "delays": lambda: accept_delays(report, settings, count, seed + 60),
        "known": lambda: accept_known(report, settings, count, horizon, seed + 20),
        "dispersion": lambda: accept_dispersion(report, settings, count, 2 if quick else 7, seed + 30),
        "shifts": lambda: accept_shifts(report, settings, count, 2 if quick else 14, seed + 10),
        "wander": lambda: accept_wander(report, settings, count, 14, horizon, seed + 40),
        "compare": lambda: compare(report, count, horizon, seed + 50),
    }
    if quick:
        del parts["wander"]
    chosen = only.split(",") if only else list(parts)
    unknown = [name for name in chosen if name not in parts]
    if unknown:
        raise SystemExit(f"--only knows {', '.join(parts)}; got {', '.join(unknown)}")
    began = time.monotonic()
    for name in chosen:
        parts[name]()
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "quick": quick,
        "parts": chosen,
        "streams": count,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "accepted": report.accepted,
        "figures": report.figures,
        "data": report.data,
    }
    (out / "accept_watcher.json").write_text(json.dumps(document, indent=1) + "\n")
    if "comparison" in report.data:
        draw(report, out)
    print(f"{'all accepted' if report.accepted else 'NOT ALL ACCEPTED'}; {out}/accept_watcher.json, .png")
    return report


def main() -> int:
    """Command line; 0 if every line is accepted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer streams, wider limits, seconds")
    parser.add_argument(
        "--out", type=Path, default=Path(".walras/reports"), help="folder for the report and picture"
    )
    parser.add_argument("--streams", type=int, default=None)
    parser.add_argument("--seed", type=int, default=20_260)
    parser.add_argument("--only", default="", help="some parts, comma-separated, e.g. delays,known")
    chosen = parser.parse_args()
    return 0 if accept(chosen.quick, chosen.out, chosen.streams, chosen.seed, chosen.only).accepted else 1


if __name__ == "__main__":
    sys.exit(main())
