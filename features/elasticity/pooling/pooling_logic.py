"""PoolingLogic: stage 2 of learning, from one category's statistics of all buckets to estimates.

The key is tenant and category. The state contains each listing's newest cumulative statistics, by the end of
their period. A product is a SKU over its markets; its statistics are sums over its listings in sorted order, so
they do not depend on the order of arrival, on restarts or on repeats. Estimates come from the model with the
best rolling score (contest.py). The category's prior changes with every message. An estimate is published
again, for all listings of a product, when a reader would act on it: its rounded mean or error changed
(``emit_shift``), or its state or warning, or a change of demand was confirmed. Once per period the scores and
states of the category, and whether its prices followed demand (price_response.py), are published as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from features.bucket_logic import Batch, Fact, Output, refuse_other_version
from features.elasticity.base import Distribution, Floats, SeriesStatistics
from features.elasticity.elasticity_logic import SUMS
from features.elasticity.models import competing_models
from features.elasticity.pooling.category_state import CategoryArrays, ListingState, Published
from features.elasticity.pooling.contest import Contest
from features.elasticity.pooling.products import pool_products
from features.elasticity.pooling.shrinkage import shrink
from features.elasticity.pooling.sufficiency import State, sufficiency
from features.elasticity.price_response import CategoryResponse
from features.elasticity.settings import ElasticitySettings
from schemas.codes import Endogeneity, EstimateWarning, InsufficientReason, Sufficiency
from schemas.events import DEFAULT_SEGMENT
from schemas.listings import Listing
from schemas.records.results import OWN_PRICE_ELASTICITY, Estimate, ModelReport

ESTIMATES = "estimates"
MODEL_REPORTS = "models"
_COLUMNS = SeriesStatistics._fields


def quantized(mean: Floats, sd: Floats, settings: ElasticitySettings) -> Floats:
    """Return means and sds as they are published, shape (n, 2).

    Means are rounded to steps of ``emit_shift`` sd from the prior m0, and sds to steps of this share from s0. A
    listing is published again when its rounded value changes. Rounding makes the last published value depend on
    the statistics only, and not on the sequence of earlier values.

    Examples
    --------
    >>> quantized(np.array([-2.0, -1.987]), np.array([1.02, 0.31]), ElasticitySettings()).round(3).tolist()
    [[-2.0, 1.0], [-2.0, 0.301]]
    """
    step, m0, s0 = settings.emit_shift, settings.m0, settings.s0
    quantized_sd = s0 * np.exp(np.round(np.log(sd / s0) / step) * step)
    width = step * quantized_sd
    return np.column_stack([m0 + np.round((mean - m0) / width) * width, quantized_sd])


class PoolingLogic:
    """Pooling of one category (a :class:`features.bucket_logic.BucketLogic`, keyed by tenant/category).

    Parameters
    ----------
    settings : the same as in stage 1; not part of the snapshot.
    """

    name = "pooling"
    version = 1

    def __init__(self, settings: ElasticitySettings | None = None) -> None:
        self.settings = settings or ElasticitySettings()
        self._tenant = ""
        self._category = ""
        self._held: dict[str, ListingState] = {}
        self._table: CategoryArrays | None = None
        self._distributions = {
            model.name: model.distribution for model in competing_models(self.settings, self.settings.slopes)
        }
        self._contest = self._new_contest()
        self._response = CategoryResponse(self.settings)
        self._states: list[State] = []

    def _new_contest(self) -> Contest:
        s = self.settings
        return Contest(tuple(self._distributions), s.score_periods, s.switch_margin, s.switch_rows)

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Return no output: this stage only processes facts of kind ``sums``."""
        return []

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Process one bucket's statistics, or several as ``{"rows": [...]}``; return the changed estimates.

        Raises
        ------
        ValueError
            If the statistics come from another kind of model than that of the settings.
        """
        if fact.kind != SUMS:
            return []
        changed: set[str] = set()
        scored = self._contest.newest
        end_ms = 0
        # The statistics of a single bucket have a column named ``rows``, so this key distinguishes the two forms.
        several = "period_end_ms" not in fact.value
        for value in fact.value["rows"] if several else [fact.value]:
            if value["kind"] != self.settings.kind:
                raise ValueError(
                    f"sums of {value['category']}: expected statistics of kind {self.settings.kind}, "
                    f"got {value['kind']}; start stage 1 and stage 2 with the same settings"
                )
            changed |= self._take(value)
            end_ms = max(end_ms, int(value["period_end_ms"]))
        outputs = self._estimates(changed) if changed else []
        if self._contest.newest > scored:
            outputs.append(self._report(end_ms))
        return outputs

    def _take(self, value: Mapping[str, Any]) -> set[str]:
        """Store newer statistics; return the affected products."""
        self._tenant, self._category = str(value["tenant"]), str(value["category"])
        self._contest.add(int(value["bucket"]), int(value["period"]), value.get("scores", {}))
        self._response.add(int(value["bucket"]), int(value["period"]), value.get("lagged", ()))
        end_ms, changed = int(value["period_end_ms"]), set()
        for key in value["gone"]:
            held = self._held.get(key)
            if held is not None and held.end_ms <= end_ms:
                del self._held[key]
                self._table = None
                changed.add(Listing.parse(key).sku)
        # Statistics written before models competed are those of the first model.
        models = value.get("models") or {next(iter(self._distributions)): value}
        for at, key in enumerate(value["listings"]):
            held = self._held.get(key)
            if held is not None and end_ms <= held.end_ms:
                continue
            fresh = ListingState(
                end_ms,
                value["price_groups"][at],
                value["offer_centre"][at],
                {name: [columns[column][at] for column in _COLUMNS] for name, columns in models.items()},
                held.published if held is not None else None,
                int(value["changed_ms"][at]) if "changed_ms" in value else 0,
                float(value["changed_variance"][at]) if "changed_variance" in value else 0.0,
                bool(value["unexposed"][at]) if "unexposed" in value else False,
            )
            self._held[key] = fresh
            if held is None or held.statistics.keys() != fresh.statistics.keys():
                self._table = None
            elif self._table is not None:
                self._table.update(key, fresh)
            changed.add(Listing.parse(key).sku)
        return changed

    def _estimates(self, changed: set[str]) -> list[Output]:
        s = self.settings
        if not self._held:
            return []
        if self._table is None:
            self._table = CategoryArrays(self._held, tuple(self._distributions))
        table, model = self._table, self._contest.in_use
        if model not in table.statistics:
            model = next(iter(table.statistics))
        pooled = pool_products(
            table.statistics[model], table.product, len(table.skus), s, self._distributions[model]
        )
        shrunk = shrink(pooled.b, pooled.category_se, s, pooled.sampling_se)
        unexposed = {
            p for p, key in zip(table.product.tolist(), table.keys, strict=True) if self._held[key].unexposed
        }
        self._states = [
            State(Sufficiency.NOT_IDENTIFIED, InsufficientReason.NO_EXPOSURES, 1)
            if pooled.periods[p] <= 0 and p in unexposed
            else sufficiency(pooled, p, s)
            for p in range(len(table.skus))
        ]
        shown = self._response.result().verdict is Endogeneity.SHOWN
        warning = EstimateWarning.PRICES_FOLLOWED_DEMAND.value if shown else ""
        ends = np.zeros(len(table.skus), np.int64)
        np.maximum.at(ends, table.product, table.ends)
        rounded = quantized(shrunk.mean, shrunk.sd, s).tolist()
        own = {table.place[sku] for sku in changed if sku in table.place} if s.emit == "changed" else set()
        rows = zip(table.listings, table.keys, table.product.tolist(), strict=True)
        counts = self._distributions[model] is Distribution.COUNTS
        outputs = []
        for listing, key, p in rows:
            held, state = self._held[key], self._states[p]
            now = Published(rounded[p][0], rounded[p][1], state.sufficiency.value, held.changed_ms, warning)
            if now == held.published and p not in own:
                continue
            held.published = now
            b, se = float(pooled.b[p]), float(pooled.se[p])
            eta, eta_sd = float(pooled.slopes[p, 1]), float(pooled.slope_se[p, 1])
            if not np.isfinite(eta_sd) or pooled.rows[p] == 0:
                eta, eta_sd = s.rival_mean, s.rival_sd
            elif not counts:
                # Sums of log units contain no prior of the controls, so that it is applied here.
                weight, prior = 1 / max(eta_sd, 1e-9) ** 2, 1 / s.rival_sd**2
                eta = (eta * weight + s.rival_mean * prior) / (weight + prior)
                eta_sd = float((weight + prior) ** -0.5)
            extra = {
                "rival_elasticity": eta,
                "rival_elasticity_sd": eta_sd,
                "category_mean": shrunk.mu,
                "category_sd": shrunk.tau,
                "dispersion": pooled.dispersion,
                "periods_missing": float(state.periods_missing),
            }
            if held.changed_ms:
                extra["changed_ms"], extra["changed_sd"] = held.changed_ms, held.changed_variance**0.5
            if held.offer_centre is not None:
                extra["mean_log_offer"] = held.offer_centre
            raw = bool(np.isfinite(b) and np.isfinite(se))
            estimate = Estimate(
                scope="listing",
                tenant=listing.tenant,
                market=listing.market,
                sku=listing.sku,
                price_group=held.group,
                name=OWN_PRICE_ELASTICITY,
                segment=DEFAULT_SEGMENT,
                mean=now.mean,
                sd=now.sd,
                n=round(float(pooled.rows[p])),
                raw_mean=b if raw else None,
                raw_se=se if raw else None,
                active_periods=round(float(pooled.periods[p])),
                sufficient=state.sufficiency.value,
                window_end_ms=int(ends[p]),
                extra=extra,
                reason=state.reason.value if state.reason is not None else "",
                model=model,
                warning=warning,
            )
            outputs.append(
                Output(
                    ESTIMATES, f"{key}|{OWN_PRICE_ELASTICITY}|{DEFAULT_SEGMENT}", asdict(estimate), int(ends[p])
                )
            )
        return outputs

    def _report(self, end_ms: int) -> Output:
        """Return the scores of the models, the one in use and the states of the category's products."""
        scores = self._contest.scores()
        switches, response = self._contest.new_switches(), self._response.result()
        tested = response.verdict is not Endogeneity.NOT_TESTED
        record = ModelReport(
            tenant=self._tenant,
            category=self._category,
            window_end_ms=end_ms,
            model=self._contest.in_use,
            switched_from=switches[-1].before if switches else "",
            reason=self._contest.reason(),
            scores={name: score.mean for name, score in sorted(scores.items())},
            rows={name: score.rows for name, score in sorted(scores.items())},
            states=dict(sorted(Counter(state.sufficiency.value for state in self._states).items())),
            endogeneity=response.verdict.value,
            lagged_correlation=response.correlation if tested else None,
            lagged_z=response.z if tested else None,
        )
        return Output(MODEL_REPORTS, "/".join((self._tenant, self._category)), asdict(record), end_ms)

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data without settings."""
        return {
            "v": self.version,
            "tenant": self._tenant,
            "category": self._category,
            "contest": self._contest.snapshot(),
            "response": self._response.snapshot(),
            "held": {key: held.to_row() for key, held in self._held.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        self._tenant, self._category = str(snapshot["tenant"]), str(snapshot.get("category", ""))
        self._contest = self._new_contest()
        if "contest" in snapshot:
            self._contest.restore(snapshot["contest"])
        self._response = CategoryResponse(self.settings)
        if "response" in snapshot:
            self._response.restore(snapshot["response"])
        self._held, self._table, self._states = {}, None, []
        first = next(iter(self._distributions))
        for key, (end_ms, group, offer_centre, published, statistics, *change) in snapshot["held"].items():
            # Snapshots written before models competed hold the first model's statistics and mean and sd only.
            known = Published(*published) if published is not None and len(published) >= 4 else None
            by_model = statistics if isinstance(statistics, Mapping) else {first: list(statistics)}
            self._held[key] = ListingState(int(end_ms), group, offer_centre, by_model, known, *change)
