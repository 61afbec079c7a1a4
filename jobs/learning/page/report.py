"""The page of `walras learn`: one HTML file without external resources."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from jobs.learning.history import History
from jobs.learning.learner import Learned
from jobs.learning.page.charts import demand_chart, elasticity_chart
from jobs.learning.page.demand_points import demand_points
from jobs.learning.results import CategoryResult, ProductResult, Refusals, Results
from schemas.codes import Endogeneity, RejectCode, Sufficiency
from schemas.money import EXPONENTS

TEMPLATE = Path(__file__).with_name("report.html")
SHOWN_CATEGORIES, SHOWN_PRODUCTS, SHOWN_CURVES = 25, 40, 18
"""Most categories, products and demand curves on the page; the Parquet files hold all."""
CHANCE = 0.0027
"""Share of exogenous products whose |z| reaches 3 by chance."""
CHART_PRODUCTS = 30
"""Most products in the chart of elasticities."""
_USABLE = (Sufficiency.SUFFICIENT, Sufficiency.PROVISIONAL)
_LEGEND = (
    (Sufficiency.SUFFICIENT, "enough data to be used alone"),
    (Sufficiency.PROVISIONAL, "usable, with a wide interval"),
    (Sufficiency.PRIOR, "mostly the category's mean"),
    (Sufficiency.NOT_IDENTIFIED, "the price never moved"),
)
_METHOD = {
    "within": (
        "Each product's elasticity is the slope of log units on log price within its markets, from all their "
        "periods with sales, beside the log of the reference price. Differences between markets do not enter. "
        "Periods without a sale have no logarithm and are left out, so that slow sellers seem less elastic."
    ),
    "poisson": (
        "Each product's elasticity is the slope of the log of orders per exposure on log price, from a Poisson "
        "regression given the exposures, with periods without an order, beside the log of the reference price and "
        "seasonal factors."
    ),
}
_MEANINGS = {
    RejectCode.DUPLICATE_ORDER.value: "the order line was counted before",
    RejectCode.UNKNOWN_LISTING.value: "no catalog entry at or before this minute",
    RejectCode.WRONG_CURRENCY.value: "another currency than that of the catalog entry",
    "NO_PRIMARY_ENTRY": "no entry of the mapping matches the row",
    "DROPPED_BY_ONCE_PER": "only the first row of each value of once_per is used",
    RejectCode.MISSING_OR_WRONG_TYPE.value: "the field is empty or of another type",
    RejectCode.OUT_OF_RANGE.value: "the value is outside of the field's limits",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A product with its demand curve."""

    product: ProductResult
    image: str
    text: str


def report_page(
    results: Results,
    history: History,
    learned: Learned,
    description: str,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> str:
    """Return the page as text; equal results give equal text."""
    seen = [p for p in results.products if p.revenue_minor > 0 or p.estimate.rows > 0]
    shown = seen[:SHOWN_PRODUCTS]
    cards = []
    curves = _to_draw(seen)
    for at, product in enumerate(curves):
        points = demand_points(history, learned, product)
        if points is not None and points.bin_price.size > 1:
            cards.append(Card(product, demand_chart(product, points, results.kind), _sentence(product)))
        progress("drawing curves", at + 1, len(curves))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        name=results.name,
        description=description,
        accounts=results.accounts,
        products_in_all=len(results.products),
        categories_in_all=len(results.categories),
        categories=results.categories[:SHOWN_CATEGORIES],
        categories_left=max(len(results.categories) - SHOWN_CATEGORIES, 0),
        state_names=[state.value for state in Sufficiency],
        legend=[(state.value, words) for state, words in _LEGEND],
        states={state.value: results.states[state.value] for state in Sufficiency},
        empty=not seen,
        warnings=list(_warnings(results)),
        chart=elasticity_chart(shown[:CHART_PRODUCTS]) if shown else "",
        products=shown,
        products_left=len(results.products) - len(shown),
        cards=cards,
        learned_text=_learned_text(results),
        method=_METHOD[results.kind],
        number=lambda value: f"{value:,.0f}",
        fixed=lambda value: "–" if value is None else f"{value:.2f}".replace("-", "−"),
        money=_money,
        best=_best,
        best_interval=_best_interval,
        lagged=_lagged,
        lagged_short=_lagged_short,
        meaning=_meaning,
    )


def _to_draw(products: list[ProductResult]) -> list[ProductResult]:
    """Return the products with curves: those whose price moved, with usable estimates first, by revenue."""
    moved = [p for p in products if p.estimate.raw is not None and p.low_price != p.high_price]
    return sorted(moved, key=lambda p: p.state not in _USABLE)[:SHOWN_CURVES]


def _warnings(results: Results) -> list[str]:
    found = []
    for category in results.categories[:SHOWN_CATEGORIES]:
        if category.endogeneity is Endogeneity.SHOWN:
            found.append(
                f"{category.category}: price changes follow the demand of the period before, {_lagged(category)}. "
                "Its elasticities are biased; do not set prices from them without an experiment."
            )
    tested = sum(p.endogeneity is not Endogeneity.NOT_TESTED for p in results.products)
    flagged = sum(p.endogeneity is Endogeneity.SHOWN for p in results.products)
    chance = CHANCE * tested
    if flagged > chance + 3 * math.sqrt(chance):
        found.append(
            f"{flagged:,} of {tested:,} tested products have prices that follow demand ({chance:.1f} by chance). "
            "Their elasticities are biased."
        )
    return found


def _learned_text(results: Results) -> str:
    accounts = results.accounts
    if results.kind == "within":
        return (
            f"They give {accounts.learned_rows:,} rows of a listing and period with sales; "
            f"{accounts.rows_without_sale:,} have no net sales and are left out."
        )
    return (
        f"They give {accounts.learned_rows:,} rows of a listing, period, segment and price with exposures; "
        f"{accounts.rows_without_sale:,} have no exposures and are left out."
    )


def _money(value: float | None, product: ProductResult) -> str:
    if value is None:
        return "–"
    digits = EXPONENTS[product.currency]
    return f"{value / 10**digits:,.{digits}f}"


def _best(product: ProductResult) -> str:
    best = product.optimal
    if best is None:
        return "–"
    sign = {"lowest": "≤ ", "highest": "≥ ", "": ""}[best.bound]
    return f"{sign}{_money(best.price, product)} {product.currency}"


def _best_interval(product: ProductResult) -> str:
    best = product.optimal
    if best is None or best.lowest == best.highest:
        return ""
    return f"{_money(best.lowest, product)} to {_money(best.highest, product)}"


def _lagged(item: ProductResult | CategoryResult) -> str:
    if item.lagged_correlation is None or item.lagged_z is None:
        return "not tested"
    word = "yes" if item.endogeneity is Endogeneity.SHOWN else "no sign"
    return f"{word} (ρ {item.lagged_correlation:+.2f}, z {item.lagged_z:+.1f})".replace("-", "−")


def _lagged_short(product: ProductResult) -> str:
    if product.lagged_z is None:
        return "not tested"
    word = "yes" if product.endogeneity is Endogeneity.SHOWN else "no sign"
    return f"{word}, z {product.lagged_z:+.1f}".replace("-", "−")


def _sentence(product: ProductResult) -> str:
    """Return the estimate and the best price of a product in words."""
    e = product.estimate
    text = f"A price that is 1 % higher sells {abs(e.mean):.1f} % {'less' if e.mean < 0 else 'more'} "
    text += f"({abs(e.high):.1f} to {abs(e.low):.1f} %)." if e.high < 0 else "(the sign is uncertain)."
    best = product.optimal
    if best is None:
        text += f" No best price: {product.optimal_missing}."
    elif best.gain is not None:
        bound = f", the {best.bound} observed price" if best.bound else ""
        text += f" Best price {_money(best.price, product)} {product.currency}{bound}"
        same = abs(best.gain) < 0.005
        text += (
            ": about the last price's profit." if same else f": {best.gain:+.0%} profit against the last price."
        )
    return text.replace("-", "−")


def _meaning(refusal: Refusals) -> str:
    return _MEANINGS.get(refusal.code, "the field breaks its contract; see the limits of the input fields")
