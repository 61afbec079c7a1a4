"""DemandBook: requests and orders of one bucket per price point (science § 4).

State, for listing i, segment k and price point t, in single precision, which is sufficient for counts and halves
the snapshot: exposures n, orders y, units, and

  (1) recent exposures Y ← Y·e^{−6Δ/H} + new,   so n − Y weighs an exposure of age a by 1 − e^{−6a/H}:
                       after the order horizon H it counts in full, before that in proportion to the
                       expected share of its orders; one number replaces an hour of history;
  (2) offer deviation  Σ n·(log ō(t) − centre), centre = the first observed reference price.

Requests: per listing and segment N ← N e^{−Δ/τ} + exposures, and D ← D e^{−Δ/τ} + Δ·profile; the level
N/D is requests per day at a mean hour, profile = hour of day × day of week of all listings of the
market in this bucket, in the market's local time, shrunk to flat. Exposures and minutes without stock
do not count.

The functions that compute probabilities from these counts are pure and are defined in
:mod:`features.books.sale_probability`. This module exports them too, so that a decision can be recomputed without
a book.

The file exceeds 300 lines because it contains one state with its bounds and its snapshot. All methods read or
write the same arrays, and the formulas are already in a module of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.array_text import read_array
from features.books.sale_probability import (
    DemandSettings,
    PointCounts,
    SaleProbabilities,
    beta_posterior,
    cumulative_sale_probability,
    non_increasing,
    sale_probabilities,
    willingness_to_pay,
)
from features.bucket_logic import Batch, refuse_other_version
from features.market_time import MarketTime
from features.segments.deviation import (
    Points,
    SegmentDeviation,
    common_segment_deviation,
    listing_segment_deviation,
)
from schemas.events import DEFAULT_SEGMENT
from schemas.listings import Listing
from schemas.time_units import DAY_MS, HOUR_MS, MINUTE_MS

__all__ = [
    "DemandBook",
    "DemandSettings",
    "PointCounts",
    "SaleProbabilities",
    "beta_posterior",
    "cumulative_sale_probability",
    "non_increasing",
    "sale_probabilities",
    "willingness_to_pay",
]

_N, _Y, _U, _RECENT, _D = range(5)
_PROFILE_SHAPE = (2, 31)
"""Requests and days, by hour of the day (24) and weekday (7)."""


class DemandBook:
    """Counts of one bucket by listing, segment and price.

    Parameters
    ----------
    settings : see :class:`DemandSettings`; not part of the snapshot.
    market_time : local time of the markets, for hours and weekdays; UTC by default. Not part of the snapshot.

    Examples
    --------
    >>> from schemas.records.counts import Cell
    >>> book = DemandBook()
    >>> cell = Cell("acme", "web", "s1", "s1", "base", "myopic", 1000, "USD", exposures=400, orders=20, units=30)
    >>> book.observe(Batch(0, 60_000, (cell,)))
    >>> for hour in range(2, 4):
    ...     book.observe(Batch(0, hour * 3_600_000))
    >>> book.counts("acme/web/s1", "myopic").exposures.round().tolist()
    [398.0]
    >>> book.sale_probabilities("acme/web/s1", "myopic", [900, 1000], elasticity=(-2, .3)).mean.round(3).tolist()
    [0.058, 0.048]
    """

    version = 1

    def __init__(self, settings: DemandSettings | None = None, market_time: MarketTime | None = None) -> None:
        self.settings = settings or DemandSettings()
        self._market_time = market_time or MarketTime()
        self._time_ms = 0
        self._listings: dict[str, int] = {}
        self._markets: dict[str, int] = {}
        self._market_of: list[int] = []
        self._centre: list[float | None] = []
        self._segments: dict[str, int] = {name: i for i, name in enumerate(self.settings.segments)}
        self._requests = np.zeros((0, len(self._segments)), np.float32)
        self._days = np.zeros(0, np.float32)
        self._profiles = np.zeros((0, *_PROFILE_SHAPE), np.float32)  # per market
        self._points: dict[tuple[int, int, int], int] = {}
        self._by_price: dict[tuple[int, int], list[tuple[int, int]]] | None = None  # built on demand
        self._counts = np.zeros((64, 5), np.float32)
        self._segment_deviations: dict[str, SegmentDeviation] = {}

    # -- input ---------------------------------------------------------------------------------

    def observe(
        self,
        batch: Batch,
        *,
        offer_of: Callable[[str], float | None] | None = None,
        out_of_stock: Collection[str] = (),
    ) -> None:
        """Count a minute; a batch that is not newer than the last one changes nothing.

        Parameters
        ----------
        batch : cells that passed :func:`features.books.products.validate_cells`.
        offer_of : returns a listing key's fresh rivals' reference price in minor units, or None.
        out_of_stock : listings without stock in this minute; their exposures do not count.
        """
        if batch.window_end_ms <= self._time_ms:
            return
        elapsed = min(batch.window_end_ms - self._time_ms, 366 * DAY_MS) if self._time_ms else 60_000
        self._age(elapsed, batch.window_end_ms)
        self._time_ms = batch.window_end_ms
        at: list[int] = []
        add: list[tuple[float, float, float, float, float]] = []
        requests: list[tuple[int, int, int]] = []
        offers: dict[int, float] = {}
        before = len(self._points)
        for cell in batch.cells:
            if not (cell.exposures or cell.orders or cell.units):
                continue
            key = Listing.key_of(cell)
            i = self._listing(key)
            k = self._segment(cell.segment)
            n = 0 if key in out_of_stock else cell.exposures
            if i not in offers:
                offers[i] = self._deviation(i, offer_of(key) if offer_of else None)
            at.append(self._point(i, k, cell.price_minor))
            add.append((n, cell.orders, cell.units, n, n * offers[i]))
            requests.append((i, k, n))
        self._add_minute(batch.window_end_ms, out_of_stock)
        if not at:
            return
        np.add.at(self._counts, at, np.array(add, np.float32))
        i_k_n = np.array(requests)
        np.add.at(self._requests, (i_k_n[:, 0], i_k_n[:, 1]), i_k_n[:, 2].astype(np.float32))
        requests_in = np.bincount(np.array(self._market_of)[i_k_n[:, 0]], i_k_n[:, 2], len(self._markets))
        for market, m in self._markets.items():
            self._profiles[m, 0, self._slots(market, batch.window_end_ms)] += np.float32(requests_in[m])
        if len(self._points) > before:
            self._limit_points({i for i, _, _ in requests})

    def learn_segment_deviations(self, elasticity_of: Callable[[str], float], *, reset: bool = False) -> None:
        """Update the deviation of each segment's elasticity from its listing's.

        See :mod:`features.segments.deviation`. The update is hourly, because the deviations change slowly. The
        default segment has no deviation: its customers are a sample of all customers, and the difference between
        its counts and the listing's is mostly noise.

        Parameters
        ----------
        elasticity_of : own-price elasticity of a listing key, over all segments.
        reset : start from a deviation of 0 instead of the previous one. The result then depends only on the
            current counts and elasticities.
        """
        if not self._points:
            return
        keys = np.array(list(self._points), np.int64)
        counts = self._counts[: len(keys)].astype(np.float64)
        exposures = np.maximum(counts[:, _N] - counts[:, _RECENT], 0.0)
        log_price = np.log(keys[:, 2].astype(np.float64))
        elasticity = np.array([elasticity_of(key) for key in self._listings])
        for name, k in self._segments.items():
            mine = np.flatnonzero(keys[:, 1] == k)
            if not mine.size or name == DEFAULT_SEGMENT:
                continue
            who, group = np.unique(keys[mine, 0], return_inverse=True)
            orders = np.clip(counts[mine, _Y], 0.0, exposures[mine])
            points = Points(group, log_price[mine], exposures[mine], orders)
            previous = None if reset else self._segment_deviations.get(name)
            self._segment_deviations[name] = common_segment_deviation(
                points,
                elasticity[who],
                sd=self.settings.segment_deviation_sd,
                start=previous.mean if previous else 0.0,
            )

    def segment_elasticity(
        self, segment: str, counts: PointCounts, elasticity: tuple[float, float]
    ) -> tuple[float, float]:
        """Return mean and sd of a segment's own-price elasticity."""
        mean, sd = elasticity
        common = self._segment_deviations.get(segment)
        if common is None or segment == DEFAULT_SEGMENT:
            return mean, sd
        log_price = np.log(counts.prices.astype(np.float64))
        deviation = listing_segment_deviation(
            log_price, counts.exposures, counts.orders, mean, common, sd=self.settings.listing_deviation_sd
        )
        return mean + deviation.mean, float(np.hypot(sd, deviation.sd))

    def fade(self, listing: str, keep: float) -> None:
        """Multiply a listing's counts per price point by ``keep``, in (0, 1], after a change of its demand."""
        i = self._listings.get(listing)
        rows = [at for (ii, _, _), at in self._points.items() if ii == i]
        self._counts[rows] *= np.float32(keep)

    def forget_prices(self, listing: str) -> None:
        """Drop a listing's counts per price point and the centre of its offers, after a change of its currency.

        Its requests stay.
        """
        i = self._listings.get(listing)
        if i is None:
            return
        kept = [(key, at) for key, at in self._points.items() if key[0] != i]
        self._counts[: len(kept)] = self._counts[[at for _, at in kept]]
        self._points = {key: at for at, (key, _) in enumerate(kept)}
        self._by_price = None
        self._centre[i] = None

    def _age(self, elapsed_ms: int, now_ms: int) -> None:
        s = self.settings
        used = self._counts[: len(self._points)]
        used[:, _RECENT] *= np.float32(np.exp(-6 * elapsed_ms / s.order_horizon_ms))
        used[used[:, _RECENT] < 1e-3, _RECENT] = 0
        hours = now_ms // HOUR_MS - self._time_ms // HOUR_MS if self._time_ms else 0
        if hours:
            used *= np.float32(np.exp(-hours / (24 * s.memory_days)))
            fade = np.float32(np.exp(-hours / (24 * s.requests_memory_days)))
            self._requests *= fade
            self._days *= fade
            self._profiles *= np.float32(np.exp(-hours / (24 * s.profile_memory_days)))

    def _add_minute(self, now_ms: int, out_of_stock: Collection[str]) -> None:
        """Add a minute of observation to every listing with stock; a gap between batches adds none."""
        sellable = np.ones(len(self._listings), bool)
        sellable[[self._listings[key] for key in out_of_stock if key in self._listings]] = False
        market_of = np.array(self._market_of, np.intp)[sellable]
        listings = np.bincount(market_of, minlength=len(self._markets))
        days = np.zeros(len(self._markets), np.float32)
        for market, m in self._markets.items():
            days[m] = MINUTE_MS / DAY_MS * self._factor(market)(now_ms)
            self._profiles[m, 1, self._slots(market, now_ms)] += np.float32(MINUTE_MS / DAY_MS * listings[m])
        self._days[sellable] += days[market_of]

    def _market(self, name: str) -> int:
        m = self._markets.get(name)
        if m is None:
            m = self._markets[name] = len(self._markets)
            self._profiles = np.concatenate([self._profiles, np.zeros((1, *_PROFILE_SHAPE), np.float32)])
        return m

    def _listing(self, key: str) -> int:
        i = self._listings.get(key)
        if i is None:
            i = self._listings[key] = len(self._centre)
            self._market_of.append(self._market(Listing.parse(key).market))
            self._centre.append(None)
            self._requests = np.vstack([self._requests, np.zeros((1, len(self._segments)), np.float32)])
            self._days = np.append(self._days, np.float32(0))
        return i

    def _segment(self, name: str) -> int:
        k = self._segments.get(name)
        if k is None:
            k = self._segments[name] = len(self._segments)
            self._requests = np.hstack([self._requests, np.zeros((len(self._listings), 1), np.float32)])
        return k

    def _deviation(self, i: int, offer_minor: float | None) -> float:
        if offer_minor is None or offer_minor <= 0:
            return 0.0
        centre = self._centre[i]
        if centre is None:
            centre = self._centre[i] = float(np.log(offer_minor))
        return float(np.log(offer_minor)) - centre

    def _point(self, i: int, k: int, price: int) -> int:
        at = self._points.get((i, k, price))
        if at is None:
            at = self._points[(i, k, price)] = len(self._points)
            self._by_price = None
            if at == len(self._counts):
                self._counts = np.vstack([self._counts, np.zeros_like(self._counts)])
            self._counts[at] = 0
        return at

    def _limit_points(self, touched: set[int]) -> None:
        """Merge the least used price points of listings above the limit into their nearest neighbours."""
        held: dict[int, list[tuple[int, int]]] = {i: [] for i in touched}
        for i, k, price in self._points:
            if i in held:
                held[i].append((k, price))
        for i in sorted(i for i, points in held.items() if len(points) > self.settings.max_points):
            points = held[i]
            while len(points) > self.settings.max_points:
                ranked = sorted(points, key=lambda kp: (float(self._counts[self._points[(i, *kp)], _N]), kp))
                for k, price in ranked:
                    beside = [p for kk, p in points if kk == k and p != price]
                    if beside:
                        break
                else:
                    break
                near = min(beside, key=lambda p: (abs(np.log(p / price)), p))
                self._counts[self._points[(i, k, near)]] += self._counts[self._points[(i, k, price)]]
                self._remove((i, k, price))
                points.remove((k, price))

    def _remove(self, key: tuple[int, int, int]) -> None:
        at, last = self._points[key], len(self._points) - 1
        keys = list(self._points)
        # Rows stay in order of insertion, so that a restored book has the same order.
        self._counts[at:last] = self._counts[at + 1 : last + 1]
        del self._points[key]
        self._by_price = None
        for row, name in enumerate(keys[at + 1 :], start=at):
            self._points[name] = row

    # -- output --------------------------------------------------------------------------------

    def counts(self, listing: str, segment: str) -> PointCounts:
        """Return counts per price point in ascending order of price, with exposures by (1).

        A decision's record contains them.
        """
        i, k = self._listings.get(listing), self._segments.get(segment)
        if self._by_price is None:
            self._by_price = {}
            for (ii, kk, price), at in self._points.items():
                self._by_price.setdefault((ii, kk), []).append((price, at))
        rows = sorted(self._by_price.get((i, k), ())) if i is not None and k is not None else []
        if not rows:
            return PointCounts.none()
        c = self._counts[[at for _, at in rows]].astype(np.float64)
        n = np.maximum(c[:, _N] - c[:, _RECENT], 0.0)
        deviation = np.divide(c[:, _D], c[:, _N], out=np.zeros(len(rows)), where=c[:, _N] > 0)
        return PointCounts(
            np.array([p for p, _ in rows], np.int64), n, np.clip(c[:, _Y], 0.0, n), c[:, _U], deviation
        )

    def offer_deviation(self, listing: str, offer_minor: float | None) -> float | None:
        """Return the log of the rivals' reference price minus the listing's centre, or None."""
        i = self._listings.get(listing)
        centre = self._centre[i] if i is not None else None
        if centre is None or offer_minor is None or offer_minor <= 0:
            return None
        return float(np.log(offer_minor)) - centre

    def sale_probabilities(
        self,
        listing: str,
        segment: str,
        prices: ArrayLike,
        *,
        elasticity: tuple[float, float],
        rival_elasticity: tuple[float, float] = (0.0, 0.0),
        offer_now: float | None = None,
        reference_price: float | None = None,
    ) -> SaleProbabilities:
        """Return :func:`sale_probabilities` of the book's counts; ``offer_now`` is in minor units."""
        return sale_probabilities(
            prices,
            self.counts(listing, segment),
            elasticity=elasticity,
            rival_elasticity=rival_elasticity,
            offer_deviation=self.offer_deviation(listing, offer_now),
            reference_price=reference_price,
            settings=self.settings,
        )

    def units_per_order(self, counts: PointCounts) -> float:
        """Return u_k: units per order of a segment's counts, shrunk to 1 and at least 1."""
        w = self.settings.units_weight
        return max(1.0, float((counts.units.sum() + w) / (counts.orders.sum() + w)))

    def requests_expected(self, listing: str, start_ms: int, period_ms: int) -> float:
        """Return R: requests expected in [start, start + period).

        The listing's level is multiplied by the market's profile of each hour.
        """
        s, i = self.settings, self._listings.get(listing)
        n, d = (float(self._requests[i].sum()), float(self._days[i])) if i is not None else (0.0, 0.0)
        per_day = (n + s.requests_per_day * s.requests_days) / (d + s.requests_days)
        market = Listing.parse(listing).market
        total, at = 0.0, start_ms
        end = start_ms + period_ms
        factor = self._factor(market)
        while at < end:
            until = min(end, self._market_time.hour(market, at).ends_ms)
            total += (until - at) / DAY_MS * factor(until)
            at = until
        return per_day * total

    def segment_shares(self, listing: str) -> dict[str, float]:
        """Return C_k: each segment's share of requests.

        The share is shrunk to the bucket's share, which is shrunk to the policy's.
        """
        s, names = self.settings, list(self._segments)
        prior = np.zeros(len(names))
        prior[: len(s.prior_shares)] = s.prior_shares
        whole = self._requests.sum(axis=0, dtype=np.float64) + s.share_weight * prior
        whole = whole / whole.sum()
        i = self._listings.get(listing)
        own = self._requests[i].astype(np.float64) if i is not None else np.zeros(len(names))
        own = own + s.share_weight * whole
        return dict(zip(names, (own / own.sum()).tolist(), strict=True))

    def requests(self, listing: str) -> float:
        """Return the decayed number of requests on which :meth:`segment_shares` is based."""
        i = self._listings.get(listing)
        return float(self._requests[i].sum()) if i is not None else 0.0

    def _slots(self, market: str, window_end_ms: int) -> list[int]:
        """Return the profile slots of the minute that ends here: the hour, and 24 + the weekday (Monday 0)."""
        hour = self._market_time.hour(market, window_end_ms - 1)
        return [hour.hour, 24 + hour.weekday]

    def _factor(self, market: str) -> Callable[[int], float]:
        """Return a function from a minute's end to the relative request rate of its hour and weekday."""
        m = self._markets.get(market)
        if m is None:
            return lambda window_end_ms: 1.0
        hours, weekdays = self._ratio(self._profiles[m, :, :24]), self._ratio(self._profiles[m, :, 24:])

        def factor(window_end_ms: int) -> float:
            hour, weekday = self._slots(market, window_end_ms)
            return hours[hour] * weekdays[weekday - 24]

        return factor

    def _ratio(self, profile: NDArray[np.float32]) -> list[float]:
        n, d = profile.astype(np.float64)
        mean = n.sum() / d.sum() if d.sum() > 0 else 0.0
        weight = self.settings.profile_requests
        ratio: list[float] = ((n + weight) / (d * mean + weight)).tolist()
        return ratio

    # -- snapshot ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data without settings, at most about 2 kB per listing."""
        used = self._counts[: len(self._points)]
        keys = np.array(list(self._points), np.int64).reshape(-1, 3)
        return {
            "v": self.version,
            "time_ms": self._time_ms,
            "listings": list(self._listings),
            "centre": list(self._centre),
            "segments": list(self._segments),
            "requests": self._requests.copy(),
            "days": self._days.copy(),
            "profiles": {market: self._profiles[m].copy() for market, m in self._markets.items()},
            "keys": keys,
            "counts": used.copy(),
            "tilts": {name: list(deviation) for name, deviation in self._segment_deviations.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("DemandBook", self.version, snapshot)
        self._time_ms = int(snapshot["time_ms"])
        self._listings = {name: i for i, name in enumerate(snapshot["listings"])}
        self._centre = list(snapshot["centre"])
        self._segments = {name: k for k, name in enumerate(snapshot["segments"])}
        self._requests = read_array(snapshot["requests"], np.float32).reshape(
            len(self._listings), len(self._segments)
        )
        self._days = read_array(snapshot["days"], np.float32)
        self._restore_profiles(snapshot)
        keys = read_array(snapshot["keys"], np.int64).reshape(-1, 3)
        self._points = {(int(i), int(k), int(p)): at for at, (i, k, p) in enumerate(keys.tolist())}
        self._by_price = None
        self._counts = np.zeros((max(64, len(self._points)), 5), np.float32)
        self._counts[: len(self._points)] = read_array(snapshot["counts"], np.float32).reshape(-1, 5)
        self._segment_deviations = {
            name: SegmentDeviation(*pair) for name, pair in snapshot.get("tilts", {}).items()
        }

    def _restore_profiles(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the markets' profiles.

        A snapshot without ``profiles`` contains one profile of the whole bucket, in UTC. It is used for markets in
        UTC. Markets with another zone start with a flat profile, because its hours differ from theirs.
        """
        saved = snapshot.get("profiles")
        of_listings = [Listing.parse(key).market for key in self._listings]
        self._markets = {market: m for m, market in enumerate(dict.fromkeys((*(saved or ()), *of_listings)))}
        self._market_of = [self._markets[market] for market in of_listings]
        self._profiles = np.zeros((len(self._markets), *_PROFILE_SHAPE), np.float32)
        for market, m in self._markets.items():
            if saved is not None:
                self._profiles[m] = read_array(saved[market], np.float32).reshape(_PROFILE_SHAPE)
            elif self._market_time.zone(market) is UTC:
                self._profiles[m] = read_array(snapshot["profile"], np.float32).reshape(_PROFILE_SHAPE)
