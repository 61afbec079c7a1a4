"""Results of the arena: runs by family, seed and pricing method, and the figures that follow from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from infra.reports.arena.pricing_methods import LEARNING_STRATEGIES, METHODS, RULES
from infra.reports.report import Figure, Limit, provenance

MIN_SHARE = {"logit": 0.90}
"""Required profit as a share of the clairvoyant's in the family that the project's models assume."""
DEFAULT_MIN_SHARE = 0.85
"""The same in every other family."""
OPTIMAL = 0.995
"""A rule with at least this share is optimal, so that Walras need only tie with it."""
SHARE = "share of the clairvoyant's profit"


@dataclass
class MethodRun:
    """Result of one method on one market: requests and expected profit per hour, price changes, and run time."""

    requests: np.ndarray
    profit: np.ndarray
    changes_per_listing_day: float
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def per_request(self) -> float:
        """Return the expected profit per price request in minor units."""
        return float(self.profit.sum() / self.requests.sum())


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and 95 % interval of paired values (Student's t over seeds)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, -math.inf, math.inf
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


@dataclass
class Comparison:
    """All runs of one call, by family of demand, seed and pricing method."""

    days: float
    listings: int
    runs: dict[str, dict[int, dict[str, MethodRun]]] = field(default_factory=dict)

    def share(self, family: str, method: str) -> list[float]:
        """Return the profit per request as a share of the clairvoyant's, by seed."""
        return [run[method].per_request / run["clairvoyant"].per_request for run in self.runs[family].values()]

    def figures(self) -> list[Figure]:
        """Return the figures of every family with their verdicts."""
        found: list[Figure] = []
        for family, seeds in self.runs.items():
            methods = next(iter(seeds.values()))
            mean, low, high = interval(self.share(family, "walras"))
            limit = Limit(at_least=MIN_SHARE.get(family, DEFAULT_MIN_SHARE))
            found.append(_figure(family, SHARE, (mean, low, high), limit.contains(mean), f">= {limit.at_least}"))
            for rule in (name for name in RULES if name in methods):
                gains = [run["walras"].per_request / run[rule].per_request - 1 for run in seeds.values()]
                mean, low, high = interval(gains)
                optimal = float(np.mean(self.share(family, rule))) >= OPTIMAL
                ok = low > 0 or (optimal and high >= 0) or (len(seeds) == 1 and mean > 0)
                found.append(_figure(family, f"profit over {rule}", (mean, low, high), ok, "interval above 0"))
            if "hourly" in methods:
                fewer = [
                    run["hourly"].changes_per_listing_day - run["walras"].changes_per_listing_day
                    for run in seeds.values()
                ]
                mean, low, high = interval(fewer)
                claim = "fewer price changes than hourly"
                found.append(_figure(family, claim, (mean, low, high), mean > 0, "> 0"))
                gains = [run["walras"].per_request / run["hourly"].per_request - 1 for run in seeds.values()]
                found.append(_figure(family, "profit over hourly", interval(gains), None, "shown, not judged"))
            for name in (name for name in LEARNING_STRATEGIES if name in methods):
                claim = f"{SHARE} by {name}"
                found.append(_figure(family, claim, interval(self.share(family, name)), None, "shown, not judged"))
        return found

    def table_lines(self) -> list[str]:
        """Return the mean share of the clairvoyant's profit as lines: a method per row, a family per column."""
        families = list(self.runs)
        methods = [
            name for name in METHODS if all(name in next(iter(runs.values())) for runs in self.runs.values())
        ]
        width = max(map(len, methods), default=0)
        head = "  ".join(["method".ljust(width), *families])
        return [head] + [
            "  ".join(
                [name.ljust(width), *(f"{np.mean(self.share(f, name)):.3f}".rjust(len(f)) for f in families)]
            )
            for name in methods
        ]

    def document(self) -> dict[str, Any]:
        """Return the content of arena.json."""
        figures = self.figures()
        families: dict[str, Any] = {}
        for family, seeds in self.runs.items():
            families[family] = {
                method: {
                    "profit_per_request_minor": [run[method].per_request for run in seeds.values()],
                    "share_of_clairvoyant": self.share(family, method),
                    "changes_per_listing_day": [run[method].changes_per_listing_day for run in seeds.values()],
                    "regret_per_request_minor_by_hour": self.regret(family, method).tolist(),
                    "outcomes": _summed([run[method].outcomes for run in seeds.values()]),
                }
                for method in next(iter(seeds.values()))
            }
        return {
            **provenance(), "days": self.days, "listings": self.listings,
            "accepted": all(figure.ok for figure in figures),
            "seeds": {family: list(seeds) for family, seeds in self.runs.items()},
            "lines": [_recorded(figure) for figure in figures], "families": families,
        }  # fmt: skip

    def regret(self, family: str, method: str) -> np.ndarray:
        """Return the clairvoyant's additional profit per request by hour, as the mean over seeds."""
        lost = [
            (run["clairvoyant"].profit - run[method].profit) / run[method].requests
            for run in self.runs[family].values()
        ]
        return np.asarray(np.mean(lost, axis=0)).round(4)


def _figure(family: str, claim: str, values: tuple[float, float, float], ok: bool | None, rule: str) -> Figure:
    mean, low, high = values
    around = (low, high) if math.isfinite(low) else None
    detail = {"family": family, "claim": claim}
    name = f"{family}: {claim}"
    return Figure(name, mean, interval=around, verdict=ok, rule=rule, detail=detail)


def _recorded(figure: Figure) -> dict[str, Any]:
    """Return a figure in the form of a line of arena.json."""
    low, high = figure.interval or (None, None)
    verdict = {"wanted": figure.rule, "accepted": figure.ok}
    return {**figure.detail, "value": figure.value, "low": low, "high": high, **verdict}


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))
