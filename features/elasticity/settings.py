"""ElasticitySettings: all parameters of the elasticity models in one frozen object (science § 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from features.books.offers import RivalSettings
from features.elasticity.drift import DriftSettings
from schemas.time_units import HOUR_MS, MINUTE_MS, WEEK_MS

_RIVALS = RivalSettings()
_DRIFT = DriftSettings()


@dataclass(frozen=True, slots=True)
class ElasticitySettings:
    """Parameters of learning elasticities; set at start and never part of a snapshot.

    The defaults are the policy's.

    Parameters
    ----------
    kind : ``poisson`` for markets with exposures (orders given exposures), ``within`` for scanner data
        (log units, one row per listing and period).
    host : implementation of the within estimator for ``within``, ``river`` (K ≤ 4) or ``sums``.
    models : models that compete where there are exposures, the one used before any score first.
    score_periods, switch_margin, switch_rows : a challenger replaces the model in use when its mean score per
        listing and period over the last ``score_periods`` periods is higher by ``switch_margin`` nats and by
        three standard errors, from at least ``switch_rows`` scores; the first model returns when it leads.
    period_ms, period_offset_ms : length of a period, and start of the first one after the epoch
        (weeks that start on Monday: 4 days).
    order_lag_periods : 1: a period is learned one period later, so that orders placed after their price has been
        replaced are added to its exposures; 0: at once. Only ``poisson``.
    category_effects : remove the common effect of a period on a category (holidays, advertisements of the chain),
        estimated from the series in the same bucket; a series without others contributes nothing. Only ``within``.
    forgetting_per_week : λ^(week); 1 means no forgetting.
    prior_mean, prior_sd : prior of the own-price elasticity in stage 1; removed before shrinkage.
    conversion, conversion_sd : prior of the level: orders per exposure, and sd of its log.
    rival_mean, rival_sd : prior of the rival elasticity.
    noise_variance : initial variance of log units for River's noise parameter.
    m0, s0, tau0, prior_weight, rounds : category prior and its shrinkage (m₀, s₀, τ₀, 4, ten rounds).
    variance_prior_df : weight of ``noise_variance`` in the residual variance of a category with fewer than three
        products, in degrees of freedom.
    sufficient_periods, sufficient_se, provisional_se : thresholds of an estimate's sufficiency. sufficient_df,
    sufficient_price_range : residual degrees of freedom (rows of counts), and range of the log price
        within a series, that a sufficient estimate needs.
    max_covariate_correlation : largest multiple correlation of the own log price with the covariates at which
        their effects are separable, 0 to 1.
    single_series_factor : factor of the SE of a within product with one series.
    emit, emit_shift : published means are rounded to steps of ``emit_shift`` sd, sds to steps of this share.
        ``changed``: a listing is published when its product's statistics changed, and otherwise when its rounded
        value changed; ``moved``: only when its rounded value changed. ``moved`` suits products in many markets,
        where each market's listing changes the product's statistics.
    endogeneity_periods, endogeneity_z, endogeneity_correlation : periods of the test whether prices followed
        demand, and the smallest |z| and |ρ| of a warning.
    drift : detection of changes, and what follows from one; see :class:`DriftSettings`.
    rivals : how offers are used.
    reference_competitors : competitors whose prices are regressors of their own, in this order; none: the mean
        reference price is one regressor.
    covariates : names of the covariates that are regressors, in this order.
    max_covariates : covariates kept per listing, used or not.
    time_zones : IANA zone per market, for hours and weekdays; UTC where absent.

    Raises
    ------
    ValueError
        If a value is invalid; the message states the field, the expected and the actual value.
    """

    kind: Literal["poisson", "within"] = "poisson"
    host: Literal["river", "sums"] = "river"
    models: tuple[str, ...] = ("poisson", "within_river", "logit_river")
    score_periods: int = 168
    switch_margin: float = 0.05
    switch_rows: float = 1000.0
    period_ms: int = HOUR_MS
    period_offset_ms: int = 0
    order_lag_periods: int = 1
    category_effects: bool = False
    forgetting_per_week: float = 0.99
    prior_mean: float = -2.0
    prior_sd: float = 3.0
    conversion: float = 0.02
    conversion_sd: float = 1.5
    rival_mean: float = 0.5
    rival_sd: float = 0.5
    noise_variance: float = 0.25
    m0: float = -2.0
    s0: float = 1.0
    tau0: float = 0.5
    prior_weight: float = 4.0
    rounds: int = 10
    variance_prior_df: float = 3.0
    sufficient_periods: float = 12.0
    sufficient_se: float = 0.5
    provisional_se: float = 1.0
    sufficient_df: float = 15.0
    sufficient_price_range: float = 0.05
    max_covariate_correlation: float = 0.95
    single_series_factor: float = 1.5
    emit: Literal["changed", "moved"] = "moved"
    emit_shift: float = 0.1
    endogeneity_periods: int = 168
    endogeneity_z: float = 4.0
    endogeneity_correlation: float = 0.1
    drift: DriftSettings = _DRIFT
    rivals: RivalSettings = _RIVALS
    reference_competitors: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    max_covariates: int = 16
    time_zones: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values of all fields."""
        expectations = {
            "kind": (self.kind in ("poisson", "within"), "poisson or within"),
            "emit": (self.emit in ("changed", "moved"), "changed or moved"),
            "host": (self.host in ("river", "sums"), "river or sums"),
            "period_ms": (
                self.period_ms >= MINUTE_MS and self.period_ms % MINUTE_MS == 0,
                "a whole number of minutes in milliseconds",
            ),
            "order_lag_periods": (self.order_lag_periods in (0, 1), "0 or 1"),
            "forgetting_per_week": (0 < self.forgetting_per_week <= 1, "above 0, at most 1"),
            "reference_competitors": (
                _are_distinct(self.reference_competitors, self.rivals.max_rivals),
                f"at most {self.rivals.max_rivals} different names, the offers kept per listing",
            ),
            "covariates": (
                _are_distinct(self.covariates, self.max_covariates),
                f"at most {self.max_covariates} different names, the covariates kept per listing",
            ),
            "conversion": (0 < self.conversion < 1, "a share between 0 and 1"),
        }
        positive = ("prior_sd", "conversion_sd", "rival_sd", "noise_variance", "s0", "tau0", "rounds")
        expectations |= {name: (getattr(self, name) > 0, "a number above 0") for name in positive}
        for name, (holds, expected) in expectations.items():
            if not holds:
                raise ValueError(f"elasticity settings: {name}: expected {expected}, got {getattr(self, name)!r}")

    @property
    def control_names(self) -> tuple[str, ...]:
        """Return the names of competitors and covariates that are regressors; empty by default.

        Statistics with other names belong to another model and are never pooled with these.

        Examples
        --------
        >>> ElasticitySettings(reference_competitors=("shop-b",), covariates=("display",)).control_names
        ('competitor:shop-b', 'display')
        """
        return (*(f"competitor:{name}" for name in self.reference_competitors), *self.covariates)

    @property
    def slopes(self) -> int:
        """Return K, the number of regressors: own price, reference prices, covariates.

        Examples
        --------
        >>> ElasticitySettings().slopes
        2
        >>> ElasticitySettings(reference_competitors=("b", "c", "d"), covariates=("display",)).slopes
        5
        """
        return 1 + max(1, len(self.reference_competitors)) + len(self.covariates)

    @property
    def forgetting(self) -> float:
        """Return λ of one period.

        Examples
        --------
        >>> round(ElasticitySettings(period_ms=WEEK_MS).forgetting, 6)
        0.99
        """
        return float(self.forgetting_per_week ** (self.period_ms / WEEK_MS))

    def period_end(self, period: int) -> int:
        """Return the end of a period in event time, in milliseconds.

        Examples
        --------
        >>> ElasticitySettings(period_ms=HOUR_MS).period_end(0)
        3600000
        """
        return (period + 1) * self.period_ms + self.period_offset_ms


def _are_distinct(names: tuple[str, ...], most: int) -> bool:
    return len(names) <= most and len(set(names)) == len(names) and all(names)
