"""PoolingLogic: stage 2 of learning, from one category's statistics of all buckets to estimates.

The key is tenant and category. The state contains each listing's newest cumulative statistics, by the end of their
period. A product is a SKU over its markets; its statistics are sums over its listings in sorted order, so they do
not depend on the order of arrival, on restarts or on repeats. The category's prior changes with every message. A
listing's estimate is published again when the listing's own statistics changed, or when the new prior changed the
rounded estimate (``emit_shift``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from features.bucket_logic import Batch, Fact, Output, refuse_other_version
from features.elasticity.base import Floats, SeriesStatistics
from features.elasticity.elasticity_logic import SUMS
from features.elasticity.pooling import pool_products, shrink, sufficiency
from features.elasticity.settings import ElasticitySettings
from schemas.events import DEFAULT_SEGMENT, Estimate, Listing

NAME = "own_price_elasticity"
ESTIMATES = "estimates"
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


class _ListingState:
    """Newest statistics of a listing, and its last published estimate (mean, sd)."""

    __slots__ = ("end_ms", "group", "offer_centre", "published", "statistics")

    def __init__(
        self,
        end_ms: int,
        group: str,
        offer_centre: float | None,
        statistics: list[Any],
        published: list[float] | None = None,
    ) -> None:
        self.end_ms = end_ms
        self.group = group
        self.offer_centre = offer_centre
        self.statistics = statistics
        self.published = published


class _CategoryArrays:
    """Statistics of the category's listings as arrays in sorted order, kept between messages."""

    def __init__(self, held: Mapping[str, _ListingState]) -> None:
        self.keys = sorted(held)
        self.row = {key: at for at, key in enumerate(self.keys)}
        self.listings = [Listing.parse(key) for key in self.keys]
        self.skus = sorted({listing.sku for listing in self.listings})
        place = {sku: at for at, sku in enumerate(self.skus)}
        self.product = np.array([place[listing.sku] for listing in self.listings], np.int64)
        self.place = place
        columns = zip(*(held[key].statistics for key in self.keys), strict=True)
        self.statistics = SeriesStatistics(*(np.array(column, np.float64) for column in columns))
        self.ends = np.array([held[key].end_ms for key in self.keys], np.int64)
        self.published = np.array([held[key].published or [np.nan, np.nan] for key in self.keys])

    def update(self, key: str, held: _ListingState) -> None:
        """Replace the statistics in one listing's row."""
        at = self.row[key]
        for column, value in zip(self.statistics, held.statistics, strict=True):
            column[at] = value
        self.ends[at] = held.end_ms


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
        self._held: dict[str, _ListingState] = {}
        self._table: _CategoryArrays | None = None

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
        # The statistics of a single bucket have a column named ``rows``, so this key distinguishes the two forms.
        several = "period_end_ms" not in fact.value
        for value in fact.value["rows"] if several else [fact.value]:
            if value["kind"] != self.settings.kind:
                raise ValueError(
                    f"sums of {value['category']}: expected statistics of kind {self.settings.kind}, "
                    f"got {value['kind']}; start stage 1 and stage 2 with the same settings"
                )
            changed |= self._take(value)
        return self._estimates(changed) if changed else []

    def _take(self, value: Mapping[str, Any]) -> set[str]:
        """Store newer statistics; return the affected products."""
        self._tenant = str(value["tenant"])
        end_ms, changed = int(value["period_end_ms"]), set()
        for key in value["gone"]:
            held = self._held.get(key)
            if held is not None and held.end_ms <= end_ms:
                del self._held[key]
                self._table = None
                changed.add(Listing.parse(key).sku)
        for at, key in enumerate(value["listings"]):
            held = self._held.get(key)
            if held is not None and end_ms <= held.end_ms:
                continue
            statistics = [value[name][at] for name in _COLUMNS]
            published = held.published if held is not None else None
            fresh = _ListingState(
                end_ms, value["price_groups"][at], value["offer_centre"][at], statistics, published
            )
            self._held[key] = fresh
            if held is None:
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
            self._table = _CategoryArrays(self._held)
        table = self._table
        pooled = pool_products(table.statistics, table.product, len(table.skus), s)
        shrunk = shrink(pooled.b, pooled.category_se, s)
        ends = np.zeros(len(table.skus), np.int64)
        np.maximum.at(ends, table.product, table.ends)
        own = np.zeros(len(table.skus), bool)
        if s.emit == "changed":
            own[[table.place[sku] for sku in changed if sku in table.place]] = True
        now = quantized(shrunk.mean, shrunk.sd, s)[table.product]
        publish = np.flatnonzero(own[table.product] | (now != table.published).any(axis=1))
        table.published[publish] = now[publish]
        outputs = []
        for at in publish.tolist():
            listing, key, p = table.listings[at], table.keys[at], int(table.product[at])
            held = self._held[key]
            mean, sd = held.published = now[at].tolist()
            b, se = float(pooled.b[p]), float(pooled.se[p])
            state, missing = sufficiency(b, se, float(pooled.periods[p]), bool(pooled.moved[p]), s)
            eta, eta_sd = float(pooled.slopes[p, 1]), float(pooled.slope_se[p, 1])
            if not np.isfinite(eta_sd) or pooled.rows[p] == 0:
                eta, eta_sd = s.rival_mean, s.rival_sd
            elif s.kind == "within":
                # Scanner sums contain no prior of the controls, so that it is applied here.
                weight, prior = 1 / max(eta_sd, 1e-9) ** 2, 1 / s.rival_sd**2
                eta = (eta * weight + s.rival_mean * prior) / (weight + prior)
                eta_sd = float((weight + prior) ** -0.5)
            extra = {
                "rival_elasticity": eta,
                "rival_elasticity_sd": eta_sd,
                "category_mean": shrunk.mu,
                "category_sd": shrunk.tau,
                "dispersion": pooled.dispersion,
                "periods_missing": float(missing),
            }
            if held.offer_centre is not None:
                extra["mean_log_offer"] = held.offer_centre
            raw = bool(np.isfinite(b) and np.isfinite(se))
            estimate = Estimate(
                scope="listing",
                tenant=listing.tenant,
                market=listing.market,
                sku=listing.sku,
                price_group=held.group,
                name=NAME,
                segment=DEFAULT_SEGMENT,
                mean=mean,
                sd=sd,
                n=round(float(pooled.rows[p])),
                raw_mean=b if raw else None,
                raw_se=se if raw else None,
                active_periods=round(float(pooled.periods[p])),
                sufficient=state.value,
                window_end_ms=int(ends[p]),
                extra=extra,
            )
            outputs.append(Output(ESTIMATES, f"{key}|{NAME}|{DEFAULT_SEGMENT}", asdict(estimate), int(ends[p])))
        return outputs

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data without settings."""
        return {
            "v": self.version,
            "tenant": self._tenant,
            "held": {
                key: [h.end_ms, h.group, h.offer_centre, h.published, h.statistics]
                for key, h in self._held.items()
            },
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        self._tenant = str(snapshot["tenant"])
        self._held, self._table = {}, None
        for key, (end_ms, group, offer_centre, published, statistics) in snapshot["held"].items():
            published = list(published) if published is not None else None
            self._held[key] = _ListingState(int(end_ms), group, offer_centre, list(statistics), published)
