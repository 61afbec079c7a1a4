"""PeriodLearning: a closed period's rows through all competing models, their scores, and changes of demand.

(1) seasonal factors are added to the exposures of counts (seasonal.py)
(2) every model forecasts the rows and learns them; the first one's forecasts teach the seasonal factors
(3) scores: log probability of each listing's count under every model's forecast (count_scores.py)
(4) drift: residuals of the first model; a confirmed change adjusts all models of its listings (drift/)
(5) endogeneity: price changes beside the first model's residuals of the period before (price_response.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.elasticity.base import Distribution, Expectation, PeriodRows, SeriesModel
from features.elasticity.count_scores import count_variance, listing_totals, log_probability
from features.elasticity.drift import MAX_LOG_VARIANCE, Change, DriftMonitor, Residuals, Scope
from features.elasticity.listing_index import ListingIndex
from features.elasticity.models import competing_models
from features.elasticity.period_counts import ClosedPeriod
from features.elasticity.price_response import PriceResponses, standardised_residuals
from features.elasticity.seasonal import SeasonalFactors
from features.elasticity.settings import ElasticitySettings
from features.market_time import MarketTime
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.time_units import HOUR_MS


class ListingChange(NamedTuple):
    """The last confirmed change of a listing, and how far changes moved its slope so far, as a mean square."""

    at_ms: int
    slope_variance: float


class TenantChange(NamedTuple):
    """A confirmed change of the period learned last, and the tenant of its listings."""

    change: Change
    tenant: str


class PeriodLearning:
    """Models of a bucket's listings.

    Parameters
    ----------
    settings : models, their priors, drift detection and time zones.

    Attributes
    ----------
    models : the competing models, the first one in use before any score.
    changes : last confirmed change per listing number; without an entry there was none.
    scores : per (tenant, category) and model: sum and number of the scores of the period learned last.
    responses : moments of price changes and residuals of the period learned last.
    """

    def __init__(self, settings: ElasticitySettings) -> None:
        self.settings = settings
        self.models: tuple[SeriesModel, ...] = competing_models(settings, settings.slopes)
        self.changes: dict[int, ListingChange] = {}
        self.scores: dict[tuple[str, str], dict[str, list[float]]] = {}
        self.responses = PriceResponses()
        self._confirmed: list[TenantChange] = []
        self._monitor = DriftMonitor(settings.drift)
        self._factors: dict[str, SeasonalFactors] = {}
        self._market_time = MarketTime(settings.time_zones)

    def grow(self, listings: int) -> None:
        """Extend all models to this number of listings."""
        for model in self.models:
            model.grow(listings)

    def learn(self, closed: ClosedPeriod, listings: ListingIndex) -> set[int]:
        """Learn a closed period; return the numbers of the listings whose statistics changed."""
        rows = closed.rows
        self.scores, self._confirmed = {}, []
        self.responses.clear()
        if rows is None:
            return set(closed.unexposed)
        if self.settings.kind == "within":
            self._learn_models(rows, rows, listings)
        else:
            self._learn_counts(rows, closed.segments, listings)
        changed = set(rows.series.tolist()) | {i for found in self._confirmed for i in found.change.rows}
        return changed | closed.unexposed

    def take_changes(self) -> list[TenantChange]:
        """Return the changes confirmed in the period learned last, and forget them."""
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def _learn_counts(self, rows: PeriodRows, segments: Sequence[str], listings: ListingIndex) -> None:
        """Learn counts with their seasonal factors, and then the factors."""
        series = rows.series.tolist()
        entries = [listings.entry(i) for i in series]
        moments = {market: self._moment(market, rows.period) for market in {e.market for e in entries}}
        levels = [(*moments[e.market], segment) for e, segment in zip(entries, segments, strict=True)]
        categories = [entry.category for entry in entries]
        factor = np.zeros(len(series))
        groups = {name: np.array([c == name for c in categories]) for name in sorted(set(categories))}
        for name, mask in groups.items():
            factors = self._factors.setdefault(name, SeasonalFactors())
            factor[mask] = factors.log_factor([level for level, m in zip(levels, mask, strict=True) if m])
        by_price = rows._replace(log_exposure=rows.log_exposure + factor)
        learned = self._learn_models(by_price, listing_rows(by_price), listings)
        if self.models[0].row_per_price:
            for name, mask in groups.items():
                mine = [level for level, m in zip(levels, mask, strict=True) if m]
                self._factors[name].learn(
                    mine, rows.quantity[mask], learned.expected[mask], learned.variance[mask]
                )

    def _moment(self, market: str, period: int) -> tuple[str, str]:
        """Return hour of the day and weekday of a period's end in a market.

        The hour is empty for a period longer than an hour, the weekday for a period longer than a day.
        """
        local = self._market_time.hour(market, self.settings.period_end(period) - 1)
        return (
            str(local.hour) if self.settings.period_ms <= HOUR_MS else "",
            str(local.weekday) if self.settings.period_ms <= 24 * HOUR_MS else "",
        )

    def _learn_models(self, by_price: PeriodRows, by_listing: PeriodRows, listings: ListingIndex) -> Expectation:
        """Learn a period in every model, score their forecasts and observe the residuals of the first one.

        Returns the first model's forecast of the rows that it learned.
        """
        learned = [model.learn(by_price if model.row_per_price else by_listing) for model in self.models]
        totals = [
            listing_totals(by_price.series, by_price.quantity, forecast)[2] if model.row_per_price else forecast
            for model, forecast in zip(self.models, learned, strict=True)
        ]
        if self.models[0].forecasts:
            residual = standardised_residuals(self.models[0].distribution, by_listing.quantity, totals[0])
            categories = [listings.category_key(i) for i in by_listing.series.tolist()]
            self.responses.observe(by_listing, residual, categories)
        known = np.all([total.expected > 0 for total in totals], axis=0)
        if known.any():
            self._score(by_listing, totals, known, listings)
            if self.models[0].distribution is Distribution.COUNTS:
                self._observe(by_price if self.models[0].row_per_price else by_listing, learned[0], listings)
        return learned[0]

    def _score(
        self, rows: PeriodRows, totals: list[Expectation], known: NDArray[np.bool_], listings: ListingIndex
    ) -> None:
        categories = [listings.category_key(i) for i in rows.series.tolist()]
        for model, total in zip(self.models, totals, strict=True):
            scores = log_probability(model.distribution, rows.quantity, total)
            for category, score, use in zip(categories, scores.tolist(), known.tolist(), strict=True):
                if use:
                    pair = self.scores.setdefault(category, {}).setdefault(model.name, [0.0, 0.0])
                    pair[0] += score
                    pair[1] += 1

    def _observe(self, rows: PeriodRows, forecast: Expectation, listings: ListingIndex) -> None:
        """Observe the residuals of forecasts that are precise enough, and adjust where a change is confirmed."""
        used = np.flatnonzero((forecast.expected > 0) & (forecast.variance < MAX_LOG_VARIANCE))
        if not used.size:
            return
        precise = Expectation(*(column[used] for column in forecast))
        entries = [listings.entry(i) for i in rows.series[used].tolist()]
        found = self._monitor.observe(
            Residuals(
                rows.quantity[used] - precise.expected,
                count_variance(precise),
                precise.expected,
                precise.dispersion,
                rows.x[used, 0],
                [Listing.key_of(entry) for entry in entries],
                ["/".join((entry.tenant, entry.category)) for entry in entries],
                ["/".join((entry.tenant, entry.market)) for entry in entries],
            )
        )
        for change in found:
            self._adjust(change, listings)

    def _adjust(self, change: Change, listings: ListingIndex) -> None:
        """Adjust the listings of a change's scope, also those without an exposure in the period."""
        members = tuple(
            i
            for i, key in enumerate(listings.keys)
            if change.key == _scope_key(change.scope, listings.entry(i), key)
        )
        for model in self.models:
            model.change(np.array(members, np.int64), change.adjustment)
        added = change.adjustment.slope_shift**2 + change.adjustment.slope_variance
        for i in members:
            before = self.changes[i].slope_variance if i in self.changes else 0.0
            self.changes[i] = ListingChange(0, before + added)
        self._confirmed.append(TenantChange(change._replace(rows=members), listings.entry(members[0]).tenant))

    # -- snapshot ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return models, drift detection and seasonal factors as plain data."""
        return {
            "models": {model.name: model.snapshot() for model in self.models},
            "drift": self._monitor.snapshot(),
            "lagged": self.responses.snapshot(),
            "changes": [[i, *change] for i, change in sorted(self.changes.items())],
            "factors": {name: factors.snapshot() for name, factors in self._factors.items()},
            "local_time": True,
        }

    def restore(self, snapshot: Mapping[str, Any], listings: ListingIndex, same_regressors: bool) -> None:
        """Restore the state; with other regressors the statistics are dropped, and learning starts from the prior.

        Raises
        ------
        SnapshotError
            If a model's snapshot has another version.
        """
        self.models = competing_models(self.settings, self.settings.slopes)
        self._monitor = DriftMonitor(self.settings.drift)
        self.scores, self._confirmed, self.changes = {}, [], {}
        self.responses = PriceResponses()
        if same_regressors:
            # A snapshot written before models competed has one model, the first.
            kept = snapshot.get("models") or {self.models[0].name: snapshot["model"]}
            for model in self.models:
                if model.name in kept:
                    model.restore(kept[model.name])
            if "drift" in snapshot:
                self._monitor.restore(snapshot["drift"])
            # A snapshot written before prices were tested starts the test with its next period.
            self.responses.restore(snapshot.get("lagged", []))
            self.changes = {int(i): ListingChange(int(at), float(v)) for i, at, v in snapshot.get("changes", [])}
        self.grow(len(listings))
        self._factors = {}
        for name, factors in snapshot["factors"].items():
            self._factors[name] = SeasonalFactors()
            self._factors[name].restore(factors)
        if not snapshot.get("local_time") and any(
            self._market_time.zone(Listing.parse(key).market) is not UTC for key in listings.keys
        ):
            # Factors of an earlier version are in UTC and do not apply to markets with another zone.
            for factors in self._factors.values():
                factors.forget_times()


def _scope_key(scope: Scope, entry: CatalogEntry, key: str) -> str:
    match scope:
        case Scope.MARKET:
            return "/".join((entry.tenant, entry.market))
        case Scope.CATEGORY:
            return "/".join((entry.tenant, entry.category))
    return key


def listing_rows(rows: PeriodRows) -> PeriodRows:
    """Return one row per series from rows per price and segment.

    Orders and exposures (with the seasonal factor) are added up, regressors are means weighted by exposures.

    Examples
    --------
    >>> x, orders, exposures = np.array([[0.0], [0.1]]), np.array([1.0, 2.0]), np.array([30.0, 10.0])
    >>> one = listing_rows(PeriodRows(3, np.array([5, 5]), x, orders, np.log(exposures)))
    >>> one.series.tolist(), one.x.round(3).tolist(), one.quantity.tolist()
    ([5], [[0.025]], [3.0])
    >>> np.exp(one.log_exposure).round().tolist()
    [40.0]
    """
    names, at = np.unique(rows.series, return_inverse=True)
    exposures = np.exp(rows.log_exposure)
    total = np.asarray(np.bincount(at, weights=exposures, minlength=len(names)), np.float64)
    x = np.zeros((len(names), rows.x.shape[1]))
    np.add.at(x, at, rows.x * exposures[:, None])
    quantity = np.asarray(np.bincount(at, weights=rows.quantity, minlength=len(names)), np.float64)
    return PeriodRows(rows.period, names, x / total[:, None], quantity, np.log(total))
