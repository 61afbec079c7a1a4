r"""Expected sales and value of prices under the beliefs of a decision's inputs (science § 4, § 7).

Data, from the inputs: requests R of the period, shares C_k, units per order u_k, counts per price
point, elasticities ε and η with their sd, today's rivals, unit cost c, weight ω. Then

  s_tk = R C_k u_k S_tk             units, if all of segment k is quoted P_t            (1)
  v_tk = s_tk (P_t − ω c)           value, minor units                                  (2)

with S_tk the posterior of :func:`features.books.sale_probability.sale_probabilities`.

Gain of quoting x instead of x⁰, with λ the multiplier of the sale target (a scarce unit costs its
shadow price):

  G = Σ a_tk S_tk,   a_tk = R C_k u_k (P_t − ω c − λ)(x_tk − x⁰_tk)                    (3)

Its variance: the curve's part of every S moves with the same ε (common to all segments) and with the
segment's own level; the data's part is each point's own. With ρ = n/(κ + n) the data's weight, m the
curve, Y_k the orders behind the level, x̄_k the centre of the prices learned at:

  Var G = sd_ε² [Σ a(1−ρ) m (log P − x̄_k)]² + Σ_k sd_γk² [Σ_t a(1−ρ) m (log P − x̄_k)]²
          + Σ_k [Σ_t a(1−ρ) m]²/Y_k + Σ a² ρ S(1−S)/(κ+n+1)                                     (4)

with sd_γk of the segment's own deviation from ε (features.segments.deviation);
  confidence = P(G > 0) = Φ(E G / √Var G)                                                         (5)

With independent errors per point every small move would have a confidence near one half. Neighbouring prices share
their errors, which (4) accounts for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from features.books.sale_probability import sale_probabilities
from jobs.pricing.decision.inputs import PricingInputs, Shares
from jobs.pricing.policy_settings import demand_settings


class Gain(NamedTuple):
    """Expected gain per period in minor units, its sd, and P(gain > 0); None when no price moves."""

    mean: float
    sd: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Valuation:
    """Beliefs per segment and price, from which sales (1) and values (2) follow.

    ``mean``, ``curve``, ``kappa``, ``n``, ``orders``: per segment, one number per price; see
    :class:`features.books.sale_probability.SaleProbabilities`. ``requests``: units per segment if every request
    ended in a sale. ``informed``: orders behind each segment's level. ``centre``: log price at which each segment
    was learned. ``own_variance``: of the segment's deviation from the listing's elasticity.
    """

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
        """Return (1), with the posterior means or with drawn probabilities."""
        chosen = self.mean if probabilities is None else probabilities
        return [[r * s for s in of_segment] for r, of_segment in zip(self.requests, chosen, strict=True)]

    def values(self, sales: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return (2)."""
        return [[s * (p - self.cost) for s, p in zip(row, self.prices, strict=True)] for row in sales]

    def beta(self) -> tuple[list[list[float]], list[list[float]]]:
        """Return successes and failures of every posterior, for Thompson's draw."""
        a, b = [], []
        for mean, kappa, n in zip(self.mean, self.kappa, self.n, strict=True):
            a.append([max((k + w) * m, 1e-9) for m, k, w in zip(mean, kappa, n, strict=True)])
            b.append([max((k + w) * (1 - m), 1e-9) for m, k, w in zip(mean, kappa, n, strict=True)])
        return a, b

    def expect(self, shares: Shares) -> tuple[float, float]:
        """Return units and value of the period under select probabilities."""
        at = {p: t for t, p in enumerate(self.prices)}
        units = worth = 0.0
        for k, segment in enumerate(self.segments):
            for price, share in sorted(shares[segment].items()):
                sold = share * self.requests[k] * self.mean[k][at[price]]
                units += sold
                worth += sold * (price - self.cost)
        return units, worth

    def gain(self, new: Shares, old: Shares, multiplier: float = 0.0) -> Gain:
        """Return (3)-(5): the gain of ``new`` over ``old``."""
        at = {p: t for t, p in enumerate(self.prices)}
        mean = by_elasticity = by_level = by_deviation = own = 0.0
        moves = False
        for k, segment in enumerate(self.segments):
            level = by_log_price = 0.0
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
                by_log_price += curve * (math.log(price) - self.centre[k])
                level += curve
                own += a * a * data * s * (1 - s) / (kappa + n + 1)
            by_elasticity += by_log_price
            by_deviation += self.own_variance[k] * by_log_price * by_log_price
            by_level += level * level / self.informed[k]
        if not moves:
            return Gain(0.0, 0.0, None)
        sd = math.sqrt(self.elasticity_sd**2 * by_elasticity**2 + by_deviation + by_level + own)
        confidence = 0.5 * (1 + math.erf(mean / sd / math.sqrt(2))) if sd > 0 else float(mean > 0)
        return Gain(mean, sd, confidence)


def value_prices(inputs: PricingInputs, prices: Sequence[int], offers_mean_minor: float | None) -> Valuation:
    """Return expected sales and value at some prices.

    Parameters
    ----------
    prices : ascending, minor units.
    offers_mean_minor : the fresh reference price over rivals and references; None when there is none.
    """
    policy, beliefs, product = inputs.policy, inputs.beliefs, inputs.product
    settings = demand_settings(policy)
    eps, eta = beliefs.elasticity, beliefs.rival_elasticity
    deviation = None
    if offers_mean_minor is not None and offers_mean_minor > 0 and beliefs.offer_centre is not None:
        deviation = math.log(offers_mean_minor) - beliefs.offer_centre
    reference = product.list_minor or product.cost_minor or 0.0
    columns: list[Any] = []
    informed, centres, requests, own_variance = [], [], [], []
    prior_orders = settings.prior_exposures * settings.prior_conversion
    for name in policy.segments.names:
        segment = beliefs.segments[name]
        counts, own = segment.counts, segment.elasticity or eps
        own_variance.append(max(0.0, own.sd**2 - eps.sd**2))
        got = sale_probabilities(
            list(prices),
            counts,
            elasticity=(own.mean, own.sd),
            rival_elasticity=(eta.mean, eta.sd),
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
        requests.append(beliefs.requests * segment.share * segment.units_per_order)
    mean, curve, kappa, n, orders = (tuple(c[i] for c in columns) for i in range(5))
    return Valuation(
        segments=policy.segments.names,
        prices=tuple(prices),
        requests=tuple(requests),
        cost=(product.cost_minor or 0.0) * policy.objective.cost_weight,
        mean=mean,
        curve=curve,
        kappa=kappa,
        n=n,
        orders=orders,
        informed=tuple(informed),
        centre=tuple(centres),
        elasticity_sd=eps.sd,
        own_variance=tuple(own_variance),
    )
