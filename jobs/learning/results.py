"""Results of `walras learn`: one record per product and per category, with the state and what is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from features.elasticity.endogeneity import lagged_verdict, pooled_response
from jobs.learning.estimators import ProductEstimate
from jobs.learning.history import Counted, History
from jobs.learning.learner import Learned
from jobs.learning.optimal_price import OptimalPrice, optimal_price
from jobs.replay.mapped_data import MappedData
from jobs.replay.records import Balance
from schemas.codes import Endogeneity, InsufficientReason, RejectCode, Sufficiency


@dataclass(frozen=True, slots=True)
class ProductResult:
    """What is learned of a product. Prices are of its largest listing (by revenue), in minor units.

    Attributes
    ----------
    series : number of the largest listing.
    rows, periods : informative rows and periods of the estimate.
    units, revenue_minor : over all listings; revenue in the currency of the largest listing.
    missing : what the estimate lacks, in words; empty if it is sufficient.
    endogeneity, lagged_correlation, lagged_z : test of price changes against residuals of the period before.
    low_price, high_price, last_price : observed prices.
    optimal : the price of highest profit; None without a cost, or where the elasticity is not known well enough.
    """

    tenant: str
    category: str
    sku: str
    listings: int
    market: str
    series: int
    currency: str
    estimate: ProductEstimate
    units: float
    revenue_minor: float
    missing: str
    endogeneity: Endogeneity
    lagged_correlation: float | None
    lagged_z: float | None
    cost_minor: int | None
    low_price: float | None
    high_price: float | None
    last_price: float | None
    optimal: OptimalPrice | None

    @property
    def state(self) -> Sufficiency:
        """Sufficiency of the estimate."""
        return self.estimate.state

    @property
    def optimal_missing(self) -> str:
        """Why there is no best price, in words; empty if there is one."""
        if self.optimal is not None:
            return ""
        if self.cost_minor is None:
            return "without a cost (cost_minor in the mapping)"
        if self.state not in (Sufficiency.SUFFICIENT, Sufficiency.PROVISIONAL):
            return "without an estimate that is known well enough"
        return "with one observed price only" if self.cost_minor >= 0 else "with a negative cost"


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """A category: mean elasticity and sd between its products, number of products by state, the pooled test."""

    tenant: str
    category: str
    products: int
    mean: float
    sd: float
    dispersion: float
    states: dict[str, int]
    revenue_minor: float
    endogeneity: Endogeneity
    lagged_correlation: float | None
    lagged_z: float | None


@dataclass(frozen=True, slots=True)
class Refusals:
    """Number of refused rows or records for one reason."""

    where: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """What became of the rows: per source, and the records that were counted, refused and learned."""

    sources: tuple[Balance, ...]
    refusals: tuple[Refusals, ...]
    counted: int
    learned_rows: int
    rows_without_sale: int

    @property
    def read(self) -> int:
        """Number of rows read."""
        return sum(source.rows for source in self.sources)

    @property
    def used(self) -> int:
        """Number of records that were counted, of the rows with primary entries."""
        lost = sum(each.count for each in self.refusals if each.where in _AFTER)
        return max(sum(source.primary for source in self.sources) - lost, 0)


@dataclass(frozen=True, slots=True)
class Results:
    """All results, products by revenue, the largest first."""

    name: str
    kind: str
    products: tuple[ProductResult, ...]
    categories: tuple[CategoryResult, ...]
    accounts: Accounts

    @property
    def states(self) -> Counter[str]:
        """Number of products by state."""
        return Counter(product.state.value for product in self.products)


FEW_TIMES = 4
"""Times the present periods that an estimate may lack before larger price changes are named first."""
_REPEATED, _CATALOG = "orders.order_id", "catalog"
_AFTER = (_REPEATED, _CATALOG)
"""Reasons that refuse a record after its row was mapped."""


def accounts_of(mapped: MappedData, counts: Counted, learned: Learned) -> Accounts:
    """Return what became of the rows of the files."""
    refused = [
        Refusals(f"{stream}.{field}" if stream else "row", code, number)
        for (stream, field, code), number in mapped.refusal_counts().items()
    ]
    later = (
        (_REPEATED, RejectCode.DUPLICATE_ORDER, counts.repeated),
        (_CATALOG, RejectCode.UNKNOWN_LISTING, counts.unknown_listing),
        (_CATALOG, RejectCode.WRONG_CURRENCY, counts.wrong_currency),
    )
    refused += [Refusals(where, code.value, number) for where, code, number in later if number]
    return Accounts(
        tuple(mapped.balance()), tuple(refused), counts.counted, learned.learned_rows, learned.rows_without_sale
    )


def results_of(name: str, history: History, learned: Learned, accounts: Accounts) -> Results:
    """Return the results of every product and category."""
    members: dict[int, list[int]] = {}
    for series, product in enumerate(learned.product_of.tolist()):
        members.setdefault(product, []).append(series)
    products: list[ProductResult] = []
    categories: list[CategoryResult] = []
    for category in learned.categories:
        own = [
            _product(history, learned, category.first + at, members[category.first + at], estimate)
            for at, estimate in enumerate(category.estimate.products)
        ]
        correlation, z = pooled_response(category.lagged)
        categories.append(
            CategoryResult(
                tenant=category.tenant,
                category=category.category,
                products=len(own),
                mean=category.estimate.mean,
                sd=category.estimate.sd,
                dispersion=category.estimate.dispersion,
                states={state.value: sum(p.state is state for p in own) for state in Sufficiency},
                revenue_minor=sum(p.revenue_minor for p in own),
                endogeneity=lagged_verdict(correlation, z),
                lagged_correlation=_known(correlation),
                lagged_z=_known(z),
            )
        )
        products += own
    products.sort(key=lambda p: (-p.revenue_minor, p.tenant, p.category, p.sku))
    categories.sort(key=lambda c: (-c.revenue_minor, c.tenant, c.category))
    return Results(name, learned.settings.kind, tuple(products), tuple(categories), accounts)


def _product(
    history: History, learned: Learned, number: int, series: list[int], estimate: ProductEstimate
) -> ProductResult:
    facts = learned.facts
    largest = max(series, key=lambda i: (facts.revenue[i], facts.rows[i], -i))
    listing = history.series[largest]
    correlation, z = float(learned.correlation[number]), float(learned.z[number])
    prices = [_known(float(column[largest])) for column in (facts.low_price, facts.high_price, facts.last_price)]
    return ProductResult(
        tenant=listing.tenant,
        category=listing.category,
        sku=listing.sku,
        listings=len(series),
        market=listing.market,
        series=largest,
        currency=listing.currency,
        estimate=estimate,
        units=float(facts.units[series].sum()),
        revenue_minor=float(facts.revenue[series].sum()),
        missing=missing_text(estimate, int(facts.rows[series].sum()), learned.settings.kind),
        endogeneity=lagged_verdict(correlation, z),
        lagged_correlation=_known(correlation),
        lagged_z=_known(z),
        cost_minor=listing.cost_minor,
        low_price=prices[0],
        high_price=prices[1],
        last_price=prices[2],
        optimal=_optimal(estimate, listing.cost_minor, prices),
    )


def _optimal(estimate: ProductEstimate, cost: int | None, prices: list[float | None]) -> OptimalPrice | None:
    low, high, last = prices
    if cost is None or cost < 0 or low is None or high is None or last is None or low >= high:
        return None
    if estimate.state not in (Sufficiency.SUFFICIENT, Sufficiency.PROVISIONAL):
        return None
    return optimal_price(estimate.mean, (estimate.low, estimate.high), cost, (low, high), last)


def missing_text(estimate: ProductEstimate, rows: int, kind: str) -> str:
    """Return in words what an estimate lacks; empty if it is sufficient."""
    if estimate.state is Sufficiency.SUFFICIENT:
        return ""
    if not rows:
        return "sales" if kind == "within" else "exposures"
    if estimate.reason is InsufficientReason.MOVED_WITH_COVARIATES:
        return "price changes without a change of a covariate: the price moved only with a covariate"
    if estimate.state is Sufficiency.NOT_IDENTIFIED or not estimate.moved:
        return "price changes: the price never changed within a market"
    if estimate.reason is InsufficientReason.PRICE_HARDLY_MOVED:
        return "larger price changes: the price hardly changed within a market"
    number, unit = estimate.periods_missing, "sales" if kind == "within" else "exposures"
    more = f"{number:,} more period{'s' if number != 1 else ''} with {unit}"
    # Information grows with the square of price changes: far from enough periods, only larger changes help.
    return more if number <= FEW_TIMES * max(estimate.periods, 1) else f"larger price changes, or {more}"


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
