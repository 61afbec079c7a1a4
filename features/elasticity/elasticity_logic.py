"""ElasticityLogic: stage 1 of learning, from one bucket's minutes to cumulative statistics per listing.

Minutes are counted into the rows of a period (period_counts.py). After the end of a period all models learn its
rows (period_learning.py), and the stream ``sums`` gets one output per category with the cumulative statistics of
each listing whose statistics changed. Stage 2 (pooling/) keeps the newest statistics per listing, so the order of
arrival and repeats change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from features.bucket_logic import Batch, Fact, Output, refuse_other_version
from features.elasticity.period_counts import PeriodCounts
from features.elasticity.period_learning import ListingChange, PeriodLearning, TenantChange
from features.elasticity.settings import ElasticitySettings
from schemas.records.results import DriftEvent

SUMS = "sums"
DRIFT = "drift"


class ElasticityLogic:
    """Learning of one bucket (a :class:`features.bucket_logic.BucketLogic`).

    Parameters
    ----------
    settings : see :class:`ElasticitySettings`; not part of the snapshot.
    """

    name = "elasticity"
    version = 1

    def __init__(self, settings: ElasticitySettings | None = None) -> None:
        self.settings = settings or ElasticitySettings()
        self._counts = PeriodCounts(self.settings)
        self._learning = PeriodLearning(self.settings)
        self._time_ms = 0
        self._sent_category: list[str] = []  # category of each listing's last output, "" before the first

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Process one minute; outputs follow in a period's last minute, or in the first minute after it."""
        if batch.window_end_ms <= self._time_ms:
            return []
        s, counts = self.settings, self._counts
        self._time_ms = batch.window_end_ms
        counts.take_facts(batch)
        new = len(counts.listings) - len(self._sent_category)
        if new:
            self._sent_category += [""] * new
            self._learning.grow(len(counts.listings))
        shares = counts.shares_in_stock(batch)
        period = (batch.window_end_ms - 1 - s.period_offset_ms) // s.period_ms
        outputs: list[Output] = []
        if counts.open_period is not None and period > counts.open_period:
            outputs += self._close(batch.bucket)
        counts.count(period, batch, shares)
        if batch.window_end_ms == s.period_end(period):
            outputs += self._close(batch.bucket)
        return outputs

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Return no output: facts are learned from the minute's batch, in order of event time."""
        return []

    def _close(self, bucket: int) -> list[Output]:
        closed = self._counts.close()
        if closed is None:
            return []
        changed = self._learning.learn(closed, self._counts.listings)
        return self._outputs(bucket, closed.period, changed)

    # -- outputs -------------------------------------------------------------------------------

    def _outputs(self, bucket: int, period: int, changed: set[int]) -> list[Output]:
        """Return one output per category, with all listings that changed, are new, or have changed category.

        Confirmed changes of the period precede them, one output each.
        """
        end_ms = self.settings.period_end(period)
        listings, learning = self._counts.listings, self._learning
        outputs = [self._drift_output(found, bucket, end_ms) for found in learning.take_changes()]
        grouped: dict[tuple[str, str], list[int]] = {}
        gone: dict[tuple[str, str], list[str]] = {}
        for i, key in enumerate(listings.keys):
            entry = listings.entry(i)
            if i not in changed and entry.category == self._sent_category[i]:
                continue
            if self._sent_category[i] and entry.category != self._sent_category[i]:
                gone.setdefault((entry.tenant, self._sent_category[i]), []).append(key)
            self._sent_category[i] = entry.category
            grouped.setdefault((entry.tenant, entry.category), []).append(i)
        if not grouped:
            return outputs
        statistics = {model.name: model.statistics() for model in learning.models}
        for tenant, category in sorted(grouped.keys() | gone.keys()):
            index = sorted(grouped.get((tenant, category), []), key=lambda i: listings.keys[i])
            changes = [learning.changes.get(i, ListingChange(0, 0.0)) for i in index]
            value = {
                "tenant": tenant,
                "category": category,
                "bucket": bucket,
                "kind": self.settings.kind,
                "period": period,
                "period_end_ms": end_ms,
                "gone": sorted(gone.get((tenant, category), [])),
                "listings": [listings.keys[i] for i in index],
                "price_groups": [listings.entry(i).price_group for i in index],
                "offer_centre": [self._counts.offer_centre[i] for i in index],
                "changed_ms": [change.at_ms for change in changes],
                "changed_variance": [change.slope_variance for change in changes],
                "unexposed": [i in self._counts.unexposed for i in index],
                "scores": {name: list(pair) for name, pair in learning.scores.get((tenant, category), {}).items()},
                "lagged": learning.responses.moments((tenant, category)),
                "models": {
                    name: {column: values.tolist() for column, values in found.take(index)._asdict().items()}
                    for name, found in statistics.items()
                },
            }
            # Statistics of other regressors are pooled under a key, and therefore in a state, of their own.
            key = "|".join((f"{tenant}/{category}", *self.settings.control_names))
            outputs.append(Output(SUMS, key, value, end_ms))
        return outputs

    def _drift_output(self, found: TenantChange, bucket: int, end_ms: int) -> Output:
        """Return a confirmed change as a record, and note its time for its listings."""
        change, changes = found.change, self._learning.changes
        for i in change.rows:
            changes[i] = changes[i]._replace(at_ms=end_ms)
        record = DriftEvent(
            tenant=found.tenant,
            scope=change.scope.value,
            name=change.key.split("/", 1)[1],
            bucket=bucket,
            statistic=change.statistic.value,
            residual_before=change.before,
            residual_after=change.after,
            periods=change.periods,
            slope_shift=change.adjustment.slope_shift,
            slope_shift_sd=change.adjustment.slope_variance**0.5,
            listings=len(change.rows),
            window_end_ms=end_ms,
        )
        return Output(DRIFT, f"{change.scope.value}/{change.key}", asdict(record), end_ms)

    # -- snapshot ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data, about 1 kB per listing."""
        return {
            "v": self.version,
            "time_ms": self._time_ms,
            **self._counts.snapshot(),
            **self._learning.snapshot(),
            "announced": list(self._sent_category),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        If competitors or covariates of the settings have changed, the statistics of the former regressors and the
        rows of open periods are dropped, and learning starts from the prior. Everything else is kept.

        Raises
        ------
        SnapshotError
            If the snapshot or a model's snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        self._time_ms = int(snapshot["time_ms"])
        same_regressors = self._counts.restore(snapshot)
        self._learning.restore(snapshot, self._counts.listings, same_regressors)
        self._sent_category = list(snapshot["announced"])
        if not same_regressors:
            self._sent_category = [""] * len(self._counts.listings)
