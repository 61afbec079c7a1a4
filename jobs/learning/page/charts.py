"""Charts of the page as SVG images: elasticities of products, and demand curves against the data."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.learning.page.demand_points import DemandPoints
from jobs.learning.results import ProductResult
from schemas.codes import Sufficiency
from schemas.money import EXPONENTS

COLOURS = {
    Sufficiency.SUFFICIENT: "#1b6ca8",
    Sufficiency.PROVISIONAL: "#c07f00",
    Sufficiency.PRIOR: "#8a8f98",
    Sufficiency.NOT_IDENTIFIED: "#b5493b",
}
_INK, _GRID = "#30343b", "#e3e6ea"
_STYLE: Any = {
    "svg.fonttype": "path", "svg.hashsalt": "walras", "font.size": 9, "axes.edgecolor": "#9aa1ab",
    "axes.labelcolor": _INK, "text.color": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip
_CURVE = np.linspace(0.0, 1.0, 60)


def elasticity_chart(products: Sequence[ProductResult]) -> str:
    """Return a chart of the raw and the shrunk elasticities with 90 % intervals, one line per product."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 0.9 + 0.27 * len(products)))
        axes = figure.subplots()
        # Raw estimates far outside of the shrunk intervals are drawn at the edge.
        low = min(min(p.estimate.low for p in products) - 0.8, -1.5)
        high = max(max(p.estimate.high for p in products) + 0.8, 0.3)
        for row, product in enumerate(products):
            e, colour = product.estimate, COLOURS[product.state]
            if e.raw is not None and e.raw_low is not None and e.raw_high is not None:
                axes.plot([e.raw_low, e.raw_high], [row + 0.16] * 2, color="#b9bfc8", lw=1.2)
                mark = "<" if e.raw < low else ">" if e.raw > high else "o"
                inside = float(np.clip(e.raw, low, high))
                axes.plot(inside, row + 0.16, mark, mfc="white", mec="#7d8590", ms=4, clip_on=False)
            axes.plot([e.low, e.high], [row - 0.12] * 2, color=colour, lw=2.4, solid_capstyle="butt")
            axes.plot(e.mean, row - 0.12, "o", color=colour, ms=5)
        axes.axvline(-1, color=_INK, lw=0.8, ls=":")
        axes.axvline(0, color="#9aa1ab", lw=0.8)
        axes.set_xlim(low, high)
        axes.set_ylim(len(products) - 0.5, -0.6)
        axes.set_yticks(range(len(products)), [_short(p.sku) for p in products])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("own-price elasticity with 90 % interval")
        figure.tight_layout()
        return _image(figure)


def demand_chart(product: ProductResult, points: DemandPoints, kind: str) -> str:
    """Return a chart of demand against price: rows, means of price bins, the curve with its interval."""
    unit = 10 ** EXPONENTS[product.currency]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.1, 2.9))
        axes = figure.subplots()
        axes.plot(points.price / unit, points.demand, ".", color="#c4cad3", ms=3, zorder=1)
        low, high = float(points.bin_price.min()), float(points.bin_price.max())
        if points.price.size:
            ends = np.quantile(points.price, (0.01, 0.99))
            low, high = min(low, float(ends[0])), max(high, float(ends[1]))
        price = low + (high - low) * _CURVE
        estimate, colour = product.estimate, COLOURS[product.state]
        curves = [
            points.centre_demand * (price / points.centre_price) ** slope
            for slope in (estimate.mean, estimate.low, estimate.high)
        ]
        axes.fill_between(price / unit, curves[1], curves[2], color=colour, alpha=0.16, lw=0, zorder=2)
        axes.plot(price / unit, curves[0], color=colour, lw=1.8, zorder=3)
        size = 16 + 50 * points.bin_rows / max(float(points.bin_rows.max()), 1e-9)
        axes.scatter(points.bin_price / unit, points.bin_demand, s=size, color=_INK, zorder=4, lw=0)
        if product.optimal is not None:
            axes.axvline(product.optimal.price / unit, color="#2e7d4f", lw=1.2, ls="--", zorder=2)
        margin = 0.03 * (high - low)
        axes.set_xlim((low - margin) / unit, (high + margin) / unit)
        _limit_demand(axes, points)
        axes.grid(color=_GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(f"price, {product.currency}")
        axes.set_ylabel("units per period" if kind == "within" else "orders per exposure")
        figure.subplots_adjust(left=0.17, right=0.97, bottom=0.17, top=0.97)
        return _image(figure)


def _limit_demand(axes: Axes, points: DemandPoints) -> None:
    """Leave the highest twentieth of the single rows out of the axis, so that the bins fill it."""
    tops = [1.25 * float(points.bin_demand.max())]
    if points.demand.size:
        tops.append(float(np.quantile(points.demand, 0.95)))
    axes.set_ylim(0, 1.05 * max(tops))


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"


def _image(figure: Figure) -> str:
    """Return the figure as a data URL, without a date, so that equal figures give equal text."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
