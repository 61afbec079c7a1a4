"""A proposed mapping for a file of sales, as YAML with questions for its author.

The proposal loads and runs as it is, so that `walras learn` shows what it gives. Each line that rests on a guess
has a question.
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from jobs.learning.proposals.columns import ROLES, FileError, describe
from jobs.learning.proposals.guesses import DAY_MINUTES, Guesses

ProposalError = FileError
"""A file for which no mapping can be proposed; the message names the column that is missing."""


def propose(path: Path) -> str:
    """Return a mapping for a CSV or Parquet file as YAML text.

    Raises
    ------
    ProposalError
        If the file cannot be read, or has no column for the date, the product, the units or the price.
    """
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute("SET enable_progress_bar = false")
        return _text(Guesses(duck, describe(duck, path)))


def _text(guesses: Guesses) -> str:
    file, spacing = guesses.file, guesses.spacing
    name = re.sub(r"[^a-z0-9]+", "-", file.path.stem.lower()).strip("-")[:60] or "sales"
    price, price_question = guesses.price()
    lines = [
        f"# Proposed for {file.path.name}, {file.rows:,} rows. Answer the questions (?), then run",
        f"#   walras learn --mapping THIS_FILE {file.path.name} --out learned",
        "# Limits of all fields: python -m jobs.replay --limits",
        "#",
        *_roles(guesses),
        f"name: {name}",
        f"description: Sales of {file.path.name}, {spacing.words}.",
        "sources:",
        "  sales:",
        f"    file: {file.path.name}",
        "    columns:",
        *_question(guesses.time_question),
        f"      time_ms: {_quoted(guesses.time)}",
        "      first_ms: min(time_ms) OVER ()",
        *_question(price_question),
        f"      price_minor: {_quoted(guesses.minor(price))}",
        f"      market_name: {_quoted(guesses.market())}",
        f"      sku_name: {_quoted(guesses.sku())}",
        "constants:",
        f"  tenant: {name}",
        *(_question("In which currency are the prices?", "  ") if not guesses.currency_known else ()),
        f"  currency: {guesses.currency}",
        "  segment: all",
        "  arm: base",
        "  role: margin",
        "  pack_size: 1",
        "  active: true",
        "  discount_minor: 0",
        *_constant_category(guesses),
        f"tick_minutes: {min(guesses.period_minutes, DAY_MINUTES)}",
        "buckets: 4",
        *_policy(guesses),
        "streams:",
        *_catalog(guesses),
        *_orders(guesses, "placed", ">"),
    ]
    if negative := guesses.negative():
        text = f"{negative:,} rows have negative units, taken as returns. Are some of them cancellations (kind:"
        lines += _question(f"{text} 'cancelled'), or corrections to leave out?", "  ")
        lines += _orders(guesses, "returned", "<")
    return "\n".join(lines) + "\n"


def _roles(guesses: Guesses) -> list[str]:
    lines = []
    for role in ROLES:
        found = guesses.file.roles.get(role, ())
        if not found:
            lines.append(f"# {role}: no column found")
            continue
        others = ", ".join(column.name for column in found[1:])
        also = f"   ? or {others}" if others else ""
        lines.append(f"# {role}: {found[0].name}, {found[0].low} to {found[0].high}{also}")
    if promotion := guesses.file.first("promotion"):
        text = f"{promotion.name} marks promotions. The estimate has no effect of promotions: a price that moves"
        lines += _question(f"{text} only with one gets the effect of both.", "")
    return [*lines, "#"]


def _constant_category(guesses: Guesses) -> list[str]:
    if guesses.category is not None:
        return []
    text = "Is there a category? What is learned is shared between the products of a category."
    return [*_question(text, "  "), "  category: all"]


def _policy(guesses: Guesses) -> list[str]:
    lines = ["policy:"]
    if exposures := guesses.file.first("exposures"):
        text = f"{exposures.name} may be exposures. With a quote per view, kind: poisson also learns"
        lines += _question(f"{text} from periods without a sale.", "  ")
    text = "Times are taken as UTC, which is right for days and weeks. To learn by hour, name the zone:"
    lines += _question(f"{text} local_time: {{time_zones: {{MARKET: Europe/Berlin}}}}.", "  ")
    lines += _question(
        f"The rows look like {guesses.spacing.words}. Is a period of {guesses.period_words} right?", "  "
    )
    period = f"period_minutes: {guesses.period_minutes}, period_offset_minutes: {guesses.period_offset_minutes}"
    return [
        *lines,
        f"  elasticity: {{kind: within, host: sums, {period}}}",
        "  segments: {names: [all], prior_shares: [1.0]}",
    ]


def _catalog(guesses: Guesses) -> list[str]:
    lines = [
        "  - stream: catalog",
        "    from: sales",
        "    where: price_minor > 0",
        "    once_per: market_name || '|' || sku_name",
        "    fields:",
        "      event_id: \"'catalog-' || row_number\"",
        "      event_time_ms: first_ms - 60000",
        *_listing(),
        "      list_minor: price_minor",
    ]
    if guesses.category is not None:
        lines.append(f"      category: {_quoted(guesses.category_name())}")
    if guesses.cost is None:
        text = "Is there a unit cost? With cost_minor each product gets its price of highest profit."
        return [*lines, *_question(text)]
    text = f"Is {guesses.cost.name} the cost of one unit? The first row of a product and market counts."
    cost = guesses.minor(guesses.amount(guesses.cost))
    return [*lines, *_question(text), f"      cost_minor: {_quoted(cost)}"]


def _orders(guesses: Guesses, kind: str, sign: str) -> list[str]:
    units, units_question = guesses.whole_units()
    lines = [
        "  - stream: orders",
        "    from: sales",
        "    primary: true",
        f"    where: {_quoted(f'{guesses.units.sql} {sign} 0 AND price_minor > 0')}",
        "    fields:",
        f"      event_id: \"'{kind}-' || row_number\"",
        "      event_time_ms: time_ms",
        *_listing(),
        f"      kind: \"'{kind}'\"",
    ]
    if guesses.order is not None and kind == "placed":
        text = f"Each row is one order. If the file repeats rows, use {guesses.order.name} as order_id and"
        lines += _question(f"{text} a line number as line: an equal pair counts once in 7 days.")
    return [
        *lines,
        "      order_id: \"'row-' || row_number\"",
        '      line: "0"',
        "      customer: \"'unknown'\"",
        "      session: \"'row-' || row_number\"",
        *(_question(units_question) if kind == "placed" else ()),
        f"      quantity: {_quoted(units)}",
        "      quoted_price_minor: price_minor",
        "      price_paid_minor: price_minor",
    ]


def _listing() -> list[str]:
    return ["      market: market_name", "      sku: sku_name", "      price_group: sku_name"]


def _question(text: str, indent: str = "      ") -> list[str]:
    return [f"{indent}# ? {text}"] if text else []


def _quoted(text: str) -> str:
    """Return SQL as a YAML scalar in single quotes.

    >>> _quoted("'a' || b")
    "'''a'' || b'"
    """
    return "'" + text.replace("'", "''") + "'"
