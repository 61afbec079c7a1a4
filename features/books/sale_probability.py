"""Sale probability at a price: the posterior per price point (science § 4).

Data, for one listing and one segment: price points u with price P_u, exposures n_u (older than the
order horizon), orders y_u, and d_u, the mean log of the rivals' reference price during these exposures, as a
deviation from a fixed centre. Estimates: own-price elasticity ε ± sd, rival elasticity
η ± sd (features/elasticity). Result: S_t at prices P_t, with rivals at deviation d today.

  (1) centre        p̄ = exp(Σ n_u log P_u / Σ n_u),  d̄ = Σ n_u d_u / Σ n_u
  (2) shape         f_u = (P_u/p̄)^ε · e^{η(d_u − d̄)}
  (3) level         s̄₋ₜ = (Σ_{u≠t} y_u + a s₀) / (Σ_{u≠t} n_u f_u + a)     without the point's own cells
  (4) curve         m_t = s̄₋ₜ (P_t/p̄)^ε · e^{η(d − d̄)}
  (5) its variance  V_t = 1/(Y₋ₜ + a s₀) + sd_ε² (log P_t − x̄₋ₜ)² + sd_η² (d − d̄₋ₜ)² + m²   (of log m_t),
                    m (``curve_sd``): sd of true demand around any curve of constant elasticity
  (6) its weight    κ_t = (1 − m_t) / (m_t (e^{V_t} − 1)) − 1      by moments of the Beta
  (7) posterior     S_t ~ Beta(κ m + y′, κ(1 − m) + n − y′),  y′ = y_t e^{η(d − d_t)} ≤ n_t
  (8) order         means made non-increasing in price by pooling adjacent violators, weights κ + n

The curve is fitted without the point's own cells, so its weight needs no other bound. With a fixed bound (50
exposures) the posterior of a point with some hundred exposures follows its own noise, and an optimum over twenty
such points selects the point with the most favourable noise.

x̄₋ₜ, d̄₋ₜ are the centres of the other points. All functions are pure and take arrays, so that a
decision can be recomputed from its own record.

003 Eq. 2, sold at price ≥ P over offered at price ≥ P, averages the conversion of
all prices above P: under falling demand it is biased downward. :func:`cumulative_sale_probability`
implements it for comparison only.

The file exceeds 300 lines because it contains one estimator. Its steps share their notation, and their equations
are checked against the code line by line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import betaincinv

Floats = NDArray[np.float64]


_POSITIVE = (
    "order_horizon_ms",
    "memory_days",
    "prior_exposures",
    "curve_sd",
    "requests_per_day",
    "requests_days",
    "requests_memory_days",
    "profile_memory_days",
    "profile_requests",
    "share_weight",
    "segment_deviation_sd",
    "listing_deviation_sd",
)


@dataclass(frozen=True, slots=True)
class DemandSettings:
    """Parameters for computing sale probabilities, requests and shares from counts; not part of the state.

    The defaults are the policy's.

    Parameters
    ----------
    order_horizon_ms : time within which an exposure's order is expected (by default 60 minutes).
    memory_days : time constant of the decay of counts.
    max_points : price points kept per listing over all segments; the least used one is merged.
    prior_conversion, prior_exposures : s₀ and a of (3): prior orders per exposure, and its weight.
    curve_sd : m of (5), in logs.
    max_rival_factor : e^{η(d − d̄)} is clipped to [1/x, x].
    units_weight : weight in orders of the prior of one unit per order.
    segments, prior_shares, share_weight : segments, their prior share of requests, and its weight in requests.
    requests_per_day, requests_days : prior requests per day, and its weight in days.
    requests_memory_days : time constant of the level of requests.
    profile_memory_days : time constant of the profile of requests by hour and weekday.
    profile_requests : weight of the flat profile, in requests per hour or weekday.
    segment_deviation_sd, listing_deviation_sd : t and s of :mod:`features.segments.deviation`.

    Raises
    ------
    ValueError
        If a value is invalid; the message states the field, the expected and the actual value.
    """

    order_horizon_ms: int = 3_600_000
    memory_days: float = 30.0
    max_points: int = 24
    prior_conversion: float = 0.02
    prior_exposures: float = 50.0
    curve_sd: float = 0.08
    max_rival_factor: float = 2.0
    units_weight: float = 5.0
    segments: tuple[str, ...] = ("all", "myopic", "strategic")
    prior_shares: tuple[float, ...] = (0.2, 0.4, 0.4)
    share_weight: float = 50.0
    requests_per_day: float = 20.0
    requests_days: float = 0.05
    requests_memory_days: float = 7.0
    profile_memory_days: float = 28.0
    profile_requests: float = 50.0
    segment_deviation_sd: float = 0.7
    listing_deviation_sd: float = 0.25

    def __post_init__(self) -> None:
        """Check the ranges of all fields."""
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"demand settings: {name}: expected a number above 0, got {getattr(self, name)!r}"
                )
        if not 0 < self.prior_conversion < 1:
            raise ValueError(
                f"demand settings: prior_conversion: expected in (0, 1), got {self.prior_conversion!r}"
            )
        if self.max_points < 2:
            raise ValueError(f"demand settings: max_points: expected at least 2, got {self.max_points!r}")
        if len(self.segments) != len(self.prior_shares):
            raise ValueError(
                f"demand settings: prior_shares: expected {len(self.segments)} (one per segment), "
                f"got {self.prior_shares!r}"
            )


class PointCounts(NamedTuple):
    """Counts per price point of one listing and segment; arrays of one length, prices ascending.

    ``exposures`` are those older than the order horizon. ``offer_deviation`` is the mean log of the rivals' price
    during the exposures minus the listing's centre; 0 without a known rival.
    """

    prices: NDArray[np.int64]
    exposures: Floats
    orders: Floats
    units: Floats
    offer_deviation: Floats

    @classmethod
    def none(cls) -> PointCounts:
        """Return counts without any price point."""
        empty = np.zeros(0)
        return cls(np.zeros(0, np.int64), empty, empty, empty, empty)

    def to_record(self) -> dict[str, list[float]]:
        """Return plain lists for a decision's record.

        Examples
        --------
        >>> PointCounts.from_record(PointCounts.none().to_record()).prices.size
        0
        """
        return {name: getattr(self, name).tolist() for name in self._fields}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PointCounts:
        """Restore the counts from :meth:`to_record`, bit for bit."""
        return cls(
            np.asarray(record["prices"], np.int64),
            *(np.asarray(record[name], np.float64) for name in cls._fields[1:]),
        )


@dataclass(frozen=True, slots=True)
class SaleProbabilities:
    """Beta posteriors at several prices; all arrays have the same length.

    ``mean`` is non-increasing in price. ``n`` and ``orders`` are the point's own counts, with orders scaled to
    today's rivals. ``prior_mean`` is the curve, ``prior_weight`` its κ in exposures.
    """

    prices: NDArray[np.int64]
    mean: Floats
    sd: Floats
    n: Floats
    orders: Floats
    prior_mean: Floats
    prior_weight: Floats

    def interval(self, level: float = 0.9) -> tuple[Floats, Floats]:
        """Return the bounds of the central interval of each Beta posterior."""
        weight = self.prior_weight + self.n
        alpha, beta = weight * self.mean, weight * (1 - self.mean)
        tail = (1 - level) / 2
        return betaincinv(alpha, beta, tail), betaincinv(alpha, beta, 1 - tail)


def beta_posterior(n: ArrayLike, y: ArrayLike, m: ArrayLike, kappa: ArrayLike) -> tuple[Floats, Floats]:
    """Return mean and sd of Beta(κm + y, κ(1 − m) + n − y) (7); arguments are broadcast.

    Parameters
    ----------
    n, y : exposures ≥ 0, orders in [0, n].
    m, kappa : prior mean in (0, 1) and its weight in exposures, > 0.

    Examples
    --------
    >>> mean, sd = beta_posterior(50, 20, 0.2, 50)
    >>> round(float(mean), 3), round(float(sd), 4)
    (0.3, 0.0456)
    """
    n, y, m, kappa = (np.asarray(a, np.float64) for a in (n, y, m, kappa))
    weight = kappa + n
    mean = (kappa * m + y) / weight
    return mean, np.sqrt(mean * (1 - mean) / (weight + 1))


def non_increasing(mean: ArrayLike, weight: ArrayLike) -> Floats:
    """Return weighted means made non-increasing by pooling adjacent violators (8).

    Examples
    --------
    >>> non_increasing([.5, .2, .4], [1, 1, 1]).round(3).tolist()
    [0.5, 0.3, 0.3]
    """
    mean = np.asarray(mean, np.float64)
    if mean.size < 2 or bool((mean[1:] <= mean[:-1]).all()):
        return mean
    return np.asarray(isotonic_regression(mean, weights=np.asarray(weight, np.float64), increasing=False).x)


def sale_probabilities(
    prices: ArrayLike,
    counts: PointCounts,
    *,
    elasticity: tuple[float, float],
    rival_elasticity: tuple[float, float] = (0.0, 0.0),
    offer_deviation: float | None = None,
    reference_price: float | None = None,
    settings: DemandSettings | None = None,
) -> SaleProbabilities:
    """Return the posterior sale probability at each price (1-8).

    Parameters
    ----------
    prices : candidate prices in minor units, ascending, > 0.
    counts : the listing's and segment's counts.
    elasticity, rival_elasticity : (mean, sd) of ε and η.
    offer_deviation : log of the rivals' reference price today minus the listing's centre; None for the mean of the
        exposures.
    reference_price : price at which the prior conversion s₀ applies without exposures; by default the candidates'
        geometric mean.
    settings : see :class:`DemandSettings`.

    Raises
    ------
    ValueError
        If the prices are not ascending or not above 0.

    Examples
    --------
    Without exposures the result is the curve; with many it is the price's own conversion.

    >>> seen = PointCounts(np.array([1000]), *(np.array([v]) for v in (4000., 200., 200., 0.)))
    >>> got = sale_probabilities([900, 1000, 1100], seen, elasticity=(-2.0, 0.2))
    >>> got.mean.round(3).tolist(), got.n.tolist()
    ([0.061, 0.05, 0.041], [0.0, 4000.0, 0.0])
    """
    settings = settings or DemandSettings()
    candidates = np.asarray(prices, np.int64)
    if candidates.size and (candidates[0] <= 0 or bool((candidates[1:] <= candidates[:-1]).any())):
        raise ValueError(f"prices: expected ascending prices above 0 in minor units, got {candidates.tolist()}")
    eps, eps_sd = elasticity
    eta, eta_sd = rival_elasticity
    x_t = np.log(candidates.astype(np.float64))
    n_u, y_u, d_u = counts.exposures, np.maximum(counts.orders, 0.0), counts.offer_deviation
    seen = float(n_u.sum())
    x_u = np.log(counts.prices.astype(np.float64))
    if seen > 0:
        centre, d_centre = float(n_u @ x_u) / seen, float(n_u @ d_u) / seen
    else:
        d_centre = 0.0
        centre = math.log(reference_price) if reference_price else (float(x_t.mean()) if x_t.size else 0.0)
    now = d_centre if offer_deviation is None else offer_deviation
    rival = _rival_factor(eta * (now - d_centre), settings.max_rival_factor)

    # Own cells of each candidate price, by exact price.
    own_n, own_y, own_d = (np.zeros(candidates.size) for _ in range(3))
    own_f = np.zeros(candidates.size)
    shape = np.exp(eps * (x_u - centre)) * _rival_factor(eta * (d_u - d_centre), settings.max_rival_factor)
    at = np.searchsorted(counts.prices, candidates)
    hit = at < counts.prices.size
    hit[hit] = counts.prices[at[hit]] == candidates[hit]
    own_n[hit], own_y[hit], own_d[hit], own_f[hit] = n_u[at[hit]], y_u[at[hit]], d_u[at[hit]], shape[at[hit]]

    # Level, information and centres without the point's own cells (3), prior at the centre.
    a, s0 = settings.prior_exposures, settings.prior_conversion
    expected = n_u * shape
    others = float(expected.sum()) - own_n * own_f
    informed = float(y_u.sum()) - own_y + a * s0
    level = informed / (others + a)
    x_mid = (float(expected @ x_u) - own_n * own_f * x_t + a * s0 * centre) / (others + a * s0)
    d_mid = (float(expected @ d_u) - own_n * own_f * own_d + a * s0 * d_centre) / (others + a * s0)
    m = np.minimum(np.maximum(level * np.exp(eps * (x_t - centre)) * rival, 1e-6), 0.98)
    variance = 1 / informed + eps_sd**2 * (x_t - x_mid) ** 2 + eta_sd**2 * (now - d_mid) ** 2
    variance = variance + settings.curve_sd**2
    kappa = (1 - m) / (m * np.expm1(np.minimum(variance, 20.0))) - 1
    kappa = np.minimum(np.maximum(kappa, 1.0), 1e6)

    today = own_y * _rival_factor(eta * (now - own_d), settings.max_rival_factor)
    today = np.minimum(today, own_n)
    weight = kappa + own_n
    mean = non_increasing((kappa * m + today) / weight, weight)
    sd = np.sqrt(mean * (1 - mean) / (weight + 1))
    return SaleProbabilities(candidates, mean, sd, own_n, today, m, kappa)


def _rival_factor(log_factor: Any, limit: float) -> Any:
    bound = math.log(limit)
    # np.clip takes several times as long on arrays this short.
    return np.exp(np.minimum(np.maximum(log_factor, -bound), bound))


def cumulative_sale_probability(prices: ArrayLike, offered: ArrayLike, sold: ArrayLike) -> Floats:
    """Return 003 Eq. 2 as printed: sold at price ≥ P over offered at price ≥ P. For comparison only.

    The result is biased downward under falling demand, most at low prices: with uniform offers on the reference
    market of science § 7 it is .45 where the true value is .8.

    Examples
    --------
    >>> cumulative_sale_probability([29.9, 34.9, 39.9, 44.9], [100] * 4, [80, 60, 30, 10]).round(2).tolist()
    [0.45, 0.33, 0.2, 0.1]
    """
    order = np.argsort(np.asarray(prices, np.float64), kind="stable")
    back = np.argsort(order, kind="stable")
    offered, sold = (np.asarray(a, np.float64)[order][::-1].cumsum()[::-1] for a in (offered, sold))
    return np.divide(sold, offered, out=np.zeros_like(sold), where=offered > 0)[back]


def willingness_to_pay(reference_price: float, elasticity: float) -> float:
    """Return the price at which the curve falls to half of its value at ``reference_price`` (science § 4).

    Raises
    ------
    ValueError
        If the elasticity is not below 0.

    Examples
    --------
    >>> round(willingness_to_pay(1000, -2.0), 1)
    1414.2
    """
    if elasticity >= 0:
        raise ValueError(f"elasticity: expected below 0 (demand that falls with price), got {elasticity!r}")
    return float(reference_price * 0.5 ** (1 / elasticity))
