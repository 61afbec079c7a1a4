"""Roles of a file's columns: which one is the date, the product, the price; from names, types and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

SAMPLE_ROWS = 200_000
"""Rows from which values are described; distances of dates and duplicates need many."""
ROLES: dict[str, tuple[str, ...]] = {
    "date": (r"date", r"week", r"day", r"time", r"timestamp", r"month", r"period"),
    "product": (r"sku", r"stock_?code", r"upc", r"ean", r"gtin", r"asin", r"item(_?(id|code|nbr|no))?",
                r"product(_?(id|code|key|name))?", r"article", r"brand", r"description", r"name"),
    "store": (r"store", r"shop", r"market(place)?", r"outlet", r"branch", r"country", r"region", r"city",
              r"location", r"channel"),
    "price": (r"(unit_?|sales?_?|selling_?|retail_?)?price", r"unit_?amount", r"price_?each", r"cost_?per_?unit"),
    "revenue": (r"revenue", r"sales_?(value|amount|dollars?|usd)", r"(total_?)?amount", r"turnover", r"net_?sales",
                r"total(_?price)?", r"dollars?"),
    "units": (r"units?(_?sold)?", r"qty", r"quantity", r"quantity_?ordered", r"move(ment)?", r"sold", r"volume",
              r"demand", r"sales_?units?", r"sales"),
    "cost": (r"(unit_?)?cost(_?price)?", r"cogs", r"purchase_?price", r"wholesale(_?price)?"),
    "promotion": (r"promo(tion)?(al)?", r"on_?promo(tion)?", r"deal", r"feat(ure)?", r"display", r"discount(ed)?",
                  r"on_?sale", r"is_?featured_?sku", r"is_?display_?sku", r"coupon"),
    "category": (r"category(_?name)?", r"department", r"dept", r"class", r"family", r"segment", r"group",
                 r"product_?line", r"type"),
    "order": (r"invoice(_?(no|id|number))?", r"order(_?(id|no|number))?", r"basket(_?id)?", r"transaction(_?id)?",
              r"receipt(_?id)?", r"ticket"),
    "exposures": (r"views?", r"impressions?", r"sessions?", r"visits?", r"clicks?", r"exposures?"),
}  # fmt: skip
"""Names of each role's columns, the most specific first; a name matches as a whole or as one of its words."""
_NUMBERS = re.compile(r"(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w+INT\w*|FLOAT|DOUBLE|DECIMAL.*)")
_NUMERIC = {"price", "revenue", "units", "cost", "exposures"}


class FileError(ValueError):
    """A file that cannot be described; the message states what was expected and found."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name, DuckDB type, distinct values, share of NULL, lowest and highest value as text."""

    name: str
    type: str
    distinct: int
    missing: float
    low: str
    high: str

    @property
    def sql(self) -> str:
        """The quoted name."""
        return '"' + self.name.replace('"', '""') + '"'

    @property
    def is_number(self) -> bool:
        """Whether its type is a number."""
        return bool(_NUMBERS.fullmatch(self.type))

    @property
    def is_time(self) -> bool:
        """Whether its type is a date or time."""
        return self.type.startswith(("DATE", "TIMESTAMP"))


@dataclass(frozen=True, slots=True)
class Described:
    """A file: its columns, its number of rows, and the columns of each role, the likeliest first."""

    path: Path
    rows: int
    columns: tuple[Column, ...]
    roles: dict[str, tuple[Column, ...]] = field(default_factory=dict)

    def first(self, role: str) -> Column | None:
        """Return the likeliest column of a role; None without one."""
        found = self.roles.get(role, ())
        return found[0] if found else None


def describe(duck: duckdb.DuckDBPyConnection, path: Path) -> Described:
    """Create the view ``file`` over a CSV or Parquet file, and return what its columns are.

    Raises
    ------
    FileError
        If the file cannot be read, or has no rows.
    """
    if not path.is_file():
        raise FileError(f"{path}: expected a CSV or Parquet file, found none")
    try:
        if path.suffix.lower() == ".parquet":
            duck.from_parquet(str(path)).create_view("file", replace=True)
        else:
            duck.read_csv(str(path), header=True, sample_size=-1).create_view("file", replace=True)
        rows = duck.execute("SELECT count(*) FROM file").fetchall()[0][0]
        duck.execute(
            f"CREATE TABLE sample AS SELECT row_number() OVER () AS row_number, * FROM file LIMIT {SAMPLE_ROWS}"
        )
        kinds = [row[:2] for row in duck.execute("DESCRIBE file").fetchall()]
    except duckdb.Error as error:
        raise FileError(f"{path}: expected a CSV or Parquet file with a header: {error}") from error
    if not rows:
        raise FileError(f"{path}: expected at least one row, found none")
    columns = []
    for name, kind in kinds:
        quoted = '"' + name.replace('"', '""') + '"'
        distinct, missing, low, high = duck.execute(
            f"SELECT count(DISTINCT {quoted}), avg(CAST({quoted} IS NULL AS INTEGER)), "
            f"CAST(min({quoted}) AS VARCHAR), CAST(max({quoted}) AS VARCHAR) FROM sample"
        ).fetchall()[0]
        columns.append(Column(name, kind, distinct, float(missing or 0), str(low), str(high)))
    return Described(path, rows, tuple(columns), roles_of(columns))


def roles_of(columns: Sequence[Column]) -> dict[str, tuple[Column, ...]]:
    """Return the columns of each role, the likeliest first; a column has the role that its name matches best.

    Examples
    --------
    >>> def column(name, kind="DOUBLE"):
    ...     return Column(name, kind, 9, 0.0, "1", "9")
    >>> found = roles_of([column("InvoiceDate", "TIMESTAMP"), column("UnitPrice"), column("Quantity", "BIGINT")])
    >>> {role: [c.name for c in got] for role, got in found.items()}
    {'date': ['InvoiceDate'], 'price': ['UnitPrice'], 'units': ['Quantity']}
    """
    ranked: dict[str, list[tuple[float, int, Column]]] = {}
    for place, column in enumerate(columns):
        scores = {role: _score(role, column) for role in ROLES}
        best = min(scores, key=lambda role: scores[role])
        if scores[best] < float("inf"):
            ranked.setdefault(best, []).append((scores[best], place, column))
    found = {
        role: tuple(column for _, _, column in sorted(ranked[role], key=_rank)) for role in ROLES if role in ranked
    }
    if "date" not in found:
        times = tuple(column for column in columns if column.is_time)
        found |= {"date": times} if times else {}
    return found


def _rank(item: tuple[float, int, Column]) -> tuple[float, int]:
    return item[:2]


def _score(role: str, column: Column) -> float:
    """Return how badly a column fits a role: 0 best, infinite if it does not."""
    if (role in _NUMERIC and not column.is_number and not _is_money_text(role, column)) or (
        role in ("date", "order") and column.type == "BOOLEAN"
    ):
        return float("inf")
    if column.is_time and role != "date":
        return float("inf")
    name = words(column.name)
    for rank, pattern in enumerate(ROLES[role]):
        if re.fullmatch(pattern, name):
            return rank / 100
        if re.search(rf"(^|_)({pattern})(_|$)", name):
            # The last word of a name is its noun: unit_price is a price, price_group is not.
            return 1 + rank / 100 + (0 if re.search(rf"(^|_)({pattern})$", name) else 1)
    return 0.5 if role == "date" and column.is_time else float("inf")


def _is_money_text(role: str, column: Column) -> bool:
    return (
        role in ("price", "revenue", "cost") and column.type == "VARCHAR" and any(c.isdigit() for c in column.low)
    )


def words(name: str) -> str:
    """Return a name in lower case with underscores between its words.

    >>> words("StockCode"), words("Unit Price"), words("store_ID")
    ('stock_code', 'unit_price', 'store_id')
    """
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")
