r"""What prices are worth under the beliefs of a decision's record (science § 4, § 7).

Data, from the record: requests R of the period, shares C_k, units per order u_k, counts per price
point, elasticities ε and η with their sd, today's rivals, unit cost c, weight ω. Then

  s_tk = R C_k u_k S_tk             units, if all of segment k is quoted P_t            (1)
  v_tk = s_tk (P_t − ω c)           what that is worth                                  (2)

with S_tk the posterior of :func:`features.books.sale_probability.sale_probabilities`.

Gain of quoting x instead of x⁰, with λ the multiplier of the sale target (a unit that is scarce costs
its shadow price):

  G = Σ a_tk S_tk,   a_tk = R C_k u_k (P_t − ω c − λ)(x_tk − x⁰_tk)                    (3)

Its variance: the curve's part of every S moves with the same ε (common to all segments) and with the
segment's own level; the data's part is each point's own. With ρ = n/(κ + n) the data's weight, m the
curve, Y_k the orders behind the level, x̄_k the centre of the prices learned at:

  Var G = sd_ε² [Σ a(1−ρ) m (log P − x̄_k)]² + Σ_k sd_γk² [Σ_t a(1−ρ) m (log P − x̄_k)]²
          + Σ_k [Σ_t a(1−ρ) m]²/Y_k + Σ a² ρ S(1−S)/(κ+n+1)                                     (4)

with sd_γk of the segment's own deviation from ε (features.segments.deviation);
  confidence = P(G > 0) = Φ(E G / √Var G)                                                         (5)

Independent errors per point would call every small move a coin's toss: neighbouring prices share
their errors, and (4) says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from features.books.sale_probability import DemandSettings, PointCounts, sale_probabilities
from jobs.pricing.policy import Policy

Shares = Mapping[str, Mapping[int, float]]
"""Segment → price in minor units → share of the segment's requests."""


def demand_settings(policy: Policy) -> DemandSettings:
    """The demand book's settings, as the policy states them."""
    beliefs = policy.beliefs
    return DemandSettings(
        prior_conversion=beliefs.conversion,
        requests_per_day=beliefs.requests_per_day,
        max_rival_factor=beliefs.max_rival_factor,
        segments=policy.segments.names,
        prior_shares=policy.segments.prior_shares,
        share_weight=policy.segments.share_weight,
    )


class Gain(NamedTuple):
    """Expected gain per period in minor units, its sd, and P(gain > 0); None when nothing moves."""

    mean: float
    sd: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Valuation:
    """Units and worth per segment and price: ``sales[k][t]``, ``values[k][t]`` as in (1), (2)."""

    segments: tuple[str, ...]
    prices: tuple[int, ...]
    requests: tuple[float, ...]
    cost: float
    mean: tuple[tuple[float, ...], ...]
    curve: tuple[tuple[float, ...], ...]
    kappa: tuple[tuple[float, ...], ...]
    n: tuple[tuple[float, ...], ...]
    orders: tuple[tuple[float, ...], ...]
    informed: tuple[float, ...]
    centre: tuple[float, ...]
    elasticity_sd: float
    own_variance: tuple[float, ...]

    def sales(self, probabilities: Sequence[Sequence[float]] | None = None) -> list[list[float]]:
        """(1), with the posterior means or with drawn probabilities."""
        chosen = self.mean if probabilities is None else probabilities
        return [[r * s for s in of_segment] for r, of_segment in zip(self.requests, chosen, strict=True)]

    def values(self, sales: Sequence[Sequence[float]]) -> list[list[float]]:
        """(2)."""
        return [[s * (p - self.cost) for s, p in zip(row, self.prices, strict=True)] for row in sales]

    def beta(self) -> tuple[list[list[float]], list[list[float]]]:
        """Successes and failures of every posterior, for Thompson's draw."""
        a, b = [], []
        for mean, kappa, n in zip(self.mean, self.kappa, self.n, strict=True):
            a.append([max((k + w) * m, 1e-9) for m, k, w in zip(mean, kappa, n, strict=True)])
            b.append([max((k + w) * (1 - m), 1e-9) for m, k, w in zip(mean, kappa, n, strict=True)])
        return a, b

    def expect(self, shares: Shares) -> tuple[float, float]:
        """Units and worth of the period under select probabilities."""
        at = {p: t for t, p in enumerate(self.prices)}
        units = worth = 0.0
        for k, segment in enumerate(self.segments):
            for price, share in sorted(shares[segment].items()):
                sold = share * self.requests[k] * self.mean[k][at[price]]
                units += sold
                worth += sold * (price - self.cost)
        return units, worth

    def gain(self, new: Shares, old: Shares, multiplier: float = 0.0) -> Gain:
        """(3)-(5): what ``new`` brings over ``old``."""
        at = {p: t for t, p in enumerate(self.prices)}
        mean = by_elasticity = by_level = by_tilt = own = 0.0
        moves = False
        for k, segment in enumerate(self.segments):
            level = tilted = 0.0
            for price in sorted(set(new[segment]) | set(old[segment])):
                moved = new[segment].get(price, 0.0) - old[segment].get(price, 0.0)
                if abs(moved) < 1e-9:
                    continue
                moves = True
                t = at[price]
                a = self.requests[k] * (price - self.cost - multiplier) * moved
                s, kappa, n = self.mean[k][t], self.kappa[k][t], self.n[k][t]
                data = n / (kappa + n)
                curve = a * (1 - data) * self.curve[k][t]
                mean += a * s
                tilted += curve * (math.log(price) - self.centre[k])
                level += curve
                own += a * a * data * s * (1 - s) / (kappa + n + 1)
            by_elasticity += tilted
            by_tilt += self.own_variance[k] * tilted * tilted
            by_level += level * level / self.informed[k]
        if not moves:
            return Gain(0.0, 0.0, None)
        sd = math.sqrt(self.elasticity_sd**2 * by_elasticity**2 + by_tilt + by_level + own)
        confidence = 0.5 * (1 + math.erf(mean / sd / math.sqrt(2))) if sd > 0 else float(mean > 0)
        return Gain(mean, sd, confidence)


def value_prices(
    inputs: Mapping[str, Any], policy: Policy, prices: Sequence[int], offers_mean_minor: float | None
) -> Valuation:
    """Beliefs at some prices, from a decision's inputs alone.

    Parameters
    ----------
    inputs : see :mod:`jobs.pricing.decision.reprice`.
    prices : ascending, minor units.
    offers_mean_minor : the fresh reference price over rivals and references; None when there is none.
    """
    settings = demand_settings(policy)
    eps, eta = inputs["elasticity"], inputs["rival_elasticity"]
    centre_offer = inputs["offer_centre"]
    deviation = None
    if offers_mean_minor is not None and offers_mean_minor > 0 and centre_offer is not None:
        deviation = math.log(offers_mean_minor) - centre_offer
    reference = inputs["catalog"]["list_minor"] or inputs["catalog"]["cost_minor"]
    segments = policy.segments.names
    columns: list[Any] = []
    informed, centres, requests, own_variance = [], [], [], []
    prior_orders = settings.prior_exposures * settings.prior_conversion
    for segment in segments:
        beliefs = inputs["segments"][segment]
        counts = PointCounts.from_record(beliefs["counts"])
        own = beliefs.get("elasticity", eps)
        own_variance.append(max(0.0, own["sd"] ** 2 - eps["sd"] ** 2))
        got = sale_probabilities(
            list(prices),
            counts,
            elasticity=(own["mean"], own["sd"]),
            rival_elasticity=(eta["mean"], eta["sd"]),
            offer_deviation=deviation,
            reference_price=reference,
            settings=settings,
        )
        columns.append(
            [tuple(c.tolist()) for c in (got.mean, got.prior_mean, got.prior_weight, got.n, got.orders)]
        )
        seen = math.fsum(counts.exposures.tolist())
        weighted = [
            n * math.log(p) for n, p in zip(counts.exposures.tolist(), counts.prices.tolist(), strict=True)
        ]
        centres.append(math.fsum(weighted) / seen if seen > 0 else math.log(reference))
        informed.append(max(0.0, math.fsum(counts.orders.tolist())) + prior_orders)
        requests.append(inputs["requests"] * beliefs["share"] * beliefs["units_per_order"])
    mean, curve, kappa, n, orders = (tuple(c[i] for c in columns) for i in range(5))
    return Valuation(
        segments, tuple(prices), tuple(requests), inputs["catalog"]["cost_minor"] * policy.objective.cost_weight,
        mean, curve, kappa, n, orders, tuple(informed), tuple(centres), eps["sd"],
        tuple(own_variance),
    )  # fmt: skip
