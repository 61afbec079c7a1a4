"""Contest: rolling scores of the competing models of one category, and the model whose estimates are used.

Each bucket reports, per period and model, the sum and number of its listings' scores (count_scores.py). A
rolling mean over the last periods, weighted by these numbers, is a River statistic (``utils.Rolling`` of
``stats.Mean``). A challenger replaces the model in use when, from enough scores, its mean is higher by a margin
and the mean of the periods' differences is at least :data:`LEAST_T` of its standard errors above 0 (River's
``stats.Var``). The first model, whose errors are the most reliable, returns as soon as its mean is the higher
one again (hysteresis).

Sums are integers (micro-nats), so that they do not depend on the order in which buckets arrive. The choice is
recomputed from the kept periods at each report, so that a late bucket gives the same choice as a punctual one.
Periods older than twice the window are folded into the choice before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from river import stats, utils

MICRO = 1_000_000
LEAST_T = 3.0


class ModelScore(NamedTuple):
    """Rolling score of a model: mean log probability per listing and period in nats, and the number of scores."""

    mean: float
    rows: int


class Switch(NamedTuple):
    """A change of the model in use, with the rolling scores of all models at that period."""

    period: int
    before: str
    after: str
    scores: Mapping[str, ModelScore]


class Contest:
    """Scores of the models of one category.

    Parameters
    ----------
    models : names, the one in use before any score first.
    periods : length of the rolling window.
    margin : advantage, in nats per score, with which a challenger replaces the model in use.
    rows : scores in the window that a replacement needs.

    Examples
    --------
    >>> contest = Contest(("poisson", "logit_river"), periods=24, margin=0.01, rows=6)
    >>> for period in range(4):
    ...     _ = contest.add(0, period, {"poisson": (-2.0, 2), "logit_river": (-1.8 + period % 2 / 100, 2)})
    >>> contest.in_use, [(s.period, s.before, s.after) for s in contest.new_switches()]
    ('logit_river', [(2, 'poisson', 'logit_river')])
    >>> contest.scores()["poisson"]
    ModelScore(mean=-1.0, rows=8)
    """

    def __init__(self, models: Sequence[str], periods: int, margin: float, rows: float) -> None:
        self.models, self._window, self._margin, self._rows = tuple(models), periods, margin, rows
        self._before = self.models[0]  # in use before the first kept period
        self._kept: dict[int, dict[str, list[int]]] = {}
        self._last: dict[int, int] = {}  # bucket → its newest period
        self._reported = -1
        self._evaluated: tuple[str, dict[str, ModelScore], list[Switch]] | None = None

    def add(self, bucket: int, period: int, scores: Mapping[str, tuple[float, int]]) -> bool:
        """Add a bucket's sums of scores of a period; return False for a repeat, which changes nothing."""
        if period <= self._last.get(bucket, -1):
            return False
        self._last[bucket] = period
        newest = max(self._kept, default=period)
        if period <= newest - 2 * self._window or not scores:
            return False
        kept = self._kept.setdefault(period, {})
        for name, (total, rows) in scores.items():
            if name in self.models:
                pair = kept.setdefault(name, [0, 0])
                pair[0] += round(total * MICRO)
                pair[1] += int(rows)
        self._evaluated = None
        self._fold(max(newest, period))
        return True

    @property
    def in_use(self) -> str:
        """Name of the model whose estimates are used."""
        return self._evaluate()[0]

    @property
    def newest(self) -> int:
        """Newest period with a score, -1 before any."""
        return max(self._kept, default=-1)

    def scores(self) -> dict[str, ModelScore]:
        """Return the rolling scores by model; a model without a score is absent."""
        return self._evaluate()[1]

    def reason(self) -> str:
        """Return why the model is in use, in one sentence."""
        in_use, scores, _ = self._evaluate()
        own = scores.get(in_use)
        others = {name: score for name, score in scores.items() if name != in_use}
        if own is None or not others:
            return "no other model competes" if own is not None else "no model has a score"
        name, best = max(others.items(), key=lambda item: (item[1].mean, item[0]))
        if own.rows < self._rows:
            return f"{own.rows} scores, a switch needs {self._rows:g}"
        ahead = own.mean - best.mean
        if ahead >= 0:
            return f"{ahead:.3f} nats per listing and period better than {name}"
        return f"{name} is {-ahead:.3f} nats better, a switch needs {self._margin:g}"

    def new_switches(self) -> list[Switch]:
        """Return the switches of periods after those of the last call."""
        found = [switch for switch in self._evaluate()[2] if switch.period > self._reported]
        self._reported = max(self._reported, self.newest)
        return found

    def _evaluate(self) -> tuple[str, dict[str, ModelScore], list[Switch]]:
        if self._evaluated is None:
            self._evaluated = self._run(self._before, sorted(self._kept), until=None)
        return self._evaluated

    def _run(
        self, in_use: str, periods: Sequence[int], until: int | None
    ) -> tuple[str, dict[str, ModelScore], list[Switch]]:
        """Return choice, scores and switches after the kept periods up to ``until`` (all: None)."""
        rolling = {name: utils.Rolling(stats.Mean(), window_size=self._window) for name in self.models}
        counts = {name: utils.Rolling(stats.Sum(), window_size=self._window) for name in self.models}
        leads = self._leads()
        scores: dict[str, ModelScore] = {}
        switches = []
        for period in periods:
            if until is not None and period > until:
                break
            means = {
                name: total / MICRO / rows for name, (total, rows) in sorted(self._kept[period].items()) if rows
            }
            for name, mean in means.items():
                rows = self._kept[period][name][1]
                rolling[name].update(mean, w=rows)
                counts[name].update(rows)
                scores[name] = ModelScore(round(rolling[name].get(), 9), int(counts[name].get()))
                if in_use in means:
                    leads[name].update(mean - means[in_use])
            after = self._choice(in_use, scores, leads)
            if after != in_use:
                switches.append(Switch(period, in_use, after, dict(scores)))
                in_use, leads = after, self._leads()
        return in_use, scores, switches

    def _leads(self) -> dict[str, Any]:
        """Return rolling statistics of the models' leads over the one in use."""
        return {name: utils.Rolling(stats.Var(), window_size=self._window) for name in self.models}

    def _choice(self, in_use: str, scores: Mapping[str, ModelScore], leads: Mapping[str, Any]) -> str:
        """Return the model to use after a period."""
        current, first = scores.get(in_use), scores.get(self.models[0])
        if current is None or current.rows < self._rows:
            return in_use
        if in_use != self.models[0] and first is not None and first.mean > current.mean:
            return self.models[0]
        best, name = max((score.mean, name) for name, score in scores.items() if score.rows >= self._rows)
        spread = leads[name]
        periods, error = spread.mean.n, (spread.get() / max(spread.mean.n, 1)) ** 0.5
        sure = periods > 1 and best - current.mean >= max(self._margin, LEAST_T * error)
        return name if sure and name != in_use else in_use

    def _fold(self, newest: int) -> None:
        """Drop periods older than twice the window, and keep the choice that they led to."""
        oldest = newest - 2 * self._window
        if min(self._kept) > oldest:
            return
        self._before = self._run(self._before, sorted(self._kept), until=oldest)[0]
        self._kept = {period: kept for period, kept in self._kept.items() if period > oldest}

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, sorted."""
        return {
            "before": self._before,
            "kept": {str(p): self._kept[p] for p in sorted(self._kept)},
            "last": {str(b): self._last[b] for b in sorted(self._last)},
            "reported": self._reported,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`snapshot`; the choice falls to the first model if its model is gone."""
        before = str(snapshot["before"])
        self._before = before if before in self.models else self.models[0]
        self._kept = {
            int(p): {name: [int(v) for v in pair] for name, pair in kept.items()}
            for p, kept in snapshot["kept"].items()
        }
        self._last = {int(b): int(p) for b, p in snapshot["last"].items()}
        self._reported = int(snapshot["reported"])
        self._evaluated = None
