"""Guesses from a file's values: time, spacing of rows, currency, and the SQL expressions of a mapping's fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import duckdb

from jobs.learning.proposals.columns import Column, Described, FileError
from schemas.money import EXPONENTS
from schemas.time_units import DAY_MS, WEEK_MS

CURRENCY_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "R$": "BRL", "₽": "RUB", "₹": "INR"}
"""Signs in prices that are texts."""
DAY_MINUTES, WEEK_MINUTES = 1_440, 10_080
_DATES = ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%Y%m%d")


@dataclass(frozen=True, slots=True)
class Spacing:
    """Times of the rows: the usual distance in days, and whether rows are one per product, store and time."""

    days: int
    one_row_each: bool
    first_ms: int

    @property
    def weekly(self) -> bool:
        return self.days % 7 == 0 and self.days > 0

    @property
    def words(self) -> str:
        step = "week" if self.weekly else f"{self.days} days" if self.days > 1 else "day"
        if self.one_row_each:
            return f"one row per product, store and {step} (scanner data)"
        return f"several rows per product, store and {step} (invoice or order lines)"


class Guesses:
    """What a file's columns and values say; SQL expressions are over the view ``file`` and its columns."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, file: Described) -> None:
        self.duck = duck
        self.file = file
        names = ", ".join(column.name for column in file.columns)
        for role in ("date", "product", "units"):
            if file.first(role) is None:
                raise FileError(f"{file.path}: expected a column with the {role}, found none among {names}")
        if file.first("price") is None and file.first("revenue") is None:
            raise FileError(f"{file.path}: expected a column with the price or revenue, found none among {names}")
        self.date, self.product, self.units = (self._sure(role) for role in ("date", "product", "units"))
        self.store, self.category = file.first("store"), file.first("category")
        self.cost, self.order = file.first("cost"), file.first("order")
        self.currency, self.currency_known = self._currency()
        self.time, self.time_question = self._time()
        self.spacing = self._spacing()

    @property
    def period_minutes(self) -> int:
        """Length of a period: the distance of the rows, or a week for invoice lines."""
        if self.spacing.weekly:
            return WEEK_MINUTES * (self.spacing.days // 7)
        return DAY_MINUTES * max(self.spacing.days, 1) if self.spacing.one_row_each else WEEK_MINUTES

    @property
    def period_offset_minutes(self) -> int:
        """Start of the first period: on the weekday of weekly rows, else on Monday for weeks."""
        if self.spacing.weekly:
            return self.spacing.first_ms // 60_000 % self.period_minutes
        return 4 * DAY_MINUTES if self.period_minutes == WEEK_MINUTES else 0

    @property
    def period_words(self) -> str:
        """The period in words."""
        days = self.period_minutes // DAY_MINUTES
        return "a week" if days == 7 else "a day" if days == 1 else f"{days} days"

    def _sure(self, role: str) -> Column:
        found = self.file.first(role)
        assert found is not None
        return found

    def _time(self) -> tuple[str, str]:
        """Return the time as an SQL expression in epoch milliseconds, and a question; empty if it is plain."""
        column = self.date
        if column.is_time:
            return f"epoch_ms(TRY_CAST({column.sql} AS TIMESTAMP))", self._format_question(column)
        if column.is_number:
            low = int(float(column.low))
            if 19_000_101 <= low <= 21_001_231:
                return f"epoch_ms(strptime(CAST({column.sql} AS VARCHAR), '%Y%m%d'))", ""
            return (
                f"946857600000 + {WEEK_MS} * CAST({column.sql} AS BIGINT)",
                f"{column.name} is a number ({column.low} to {column.high}), taken as a count of weeks from "
                "2000-01-03. On which date does number 0 begin, and is it a week?",
            )
        for pattern in _DATES:
            failed = self._one(
                f"SELECT count(*) FROM sample WHERE try_strptime({column.sql}, '{pattern}') IS NULL"
            )
            if not failed:
                question = ""
                if "%d/%m" in pattern or "%m/%d" in pattern:
                    question = f"{column.name} is read as {pattern}. Is the order of day and month right?"
                return f"epoch_ms(strptime({column.sql}, '{pattern}'))", question
        raise FileError(
            f"{self.file.path}: {column.name}: expected dates, got {column.low!r} to {column.high!r}; "
            "write them as YYYY-MM-DD"
        )

    def _format_question(self, column: Column) -> str:
        """Return a question where the reader of CSV files has guessed the order of day and month."""
        if self.file.path.suffix.lower() == ".parquet":
            return ""
        found = self.duck.execute(
            "SELECT coalesce(DateFormat, '') || ' ' || coalesce(TimestampFormat, '') FROM sniff_csv(?)",
            [str(self.file.path)],
        ).fetchall()[0][0]
        guessed = re.search(r"%d[/.-]%m[/.-]%[Yy]|%m[/.-]%d[/.-]%[Yy]", found)
        if guessed is None:
            return ""
        return f"{column.name} is read as {guessed[0]}. Is the order of day and month right?"

    def _spacing(self) -> Spacing:
        rows = self.duck.execute(
            f"SELECT DISTINCT CAST(floor(({self.time}) / {DAY_MS}) AS BIGINT) AS day FROM sample "
            "WHERE day IS NOT NULL ORDER BY 1"
        ).fetchall()
        days = [row[0] for row in rows]
        steps = sorted(b - a for a, b in pairwise(days))
        usual = steps[len(steps) // 2] if steps else 1
        if usual >= 7 and any(step % 7 for step in steps):
            usual = max(1, usual if usual % 7 else usual - 1)
        store = f", {self.store.sql}" if self.store else ""
        key = f"CAST(floor(({self.time}) / {DAY_MS}) AS BIGINT), {self.product.sql}{store}"
        pairs = self._one(f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM sample)")
        total = self._one("SELECT count(*) FROM sample")
        return Spacing(usual, pairs >= 0.98 * total, (days[0] if days else 0) * DAY_MS)

    def _currency(self) -> tuple[str, bool]:
        name = " ".join(column.name for column in self.file.columns).upper()
        for code in EXPONENTS:
            if re.search(rf"(?<![A-Z]){code}(?![A-Z])", name):
                return code, True
        for role in ("price", "revenue"):
            column = self.file.first(role)
            if column is not None and column.type == "VARCHAR":
                for sign, code in CURRENCY_SIGNS.items():
                    if sign in column.low:
                        return code, True
        return "USD", False

    def _one(self, text: str) -> int:
        return int(self.duck.execute(text).fetchall()[0][0])

    def negative(self) -> int:
        return self._one(f"SELECT count(*) FROM sample WHERE {self.units.sql} < 0")

    # -- expressions -------------------------------------------------------------------------------

    def amount(self, column: Column) -> str:
        if column.is_number:
            return column.sql
        return f"TRY_CAST(regexp_replace({column.sql}, '[^0-9.-]', '', 'g') AS DOUBLE)"

    def price(self) -> tuple[str, str]:
        """Return the price in major units as SQL, and a question; empty if there is a price column."""
        price, revenue = self.file.first("price"), self.file.first("revenue")
        if price is not None:
            others = ", ".join(column.name for column in self.file.roles.get("price", ())[1:])
            question = f"Is {price.name} the price of one unit that was paid? Others: {others}." if others else ""
            return self.amount(price), question
        assert revenue is not None
        return (
            f"{self.amount(revenue)} / nullif({self.units.sql}, 0)",
            f"The price is {revenue.name} / {self.units.name}. Is {revenue.name} net of returns and tax?",
        )

    def minor(self, major: str) -> str:
        return f"CAST(round({major} * {10 ** EXPONENTS[self.currency]}) AS BIGINT)"

    def market(self) -> str:
        if self.store is None:
            return "'all'"
        return f"'m-' || regexp_replace(CAST({self.store.sql} AS VARCHAR), '[^A-Za-z0-9._-]+', '-', 'g')"

    def sku(self) -> str:
        return f"replace(CAST({self.product.sql} AS VARCHAR), '|', '/')"

    def whole_units(self) -> tuple[str, str]:
        if self.units.type in ("FLOAT", "DOUBLE") or self.units.type.startswith("DECIMAL"):
            broken = self._one(f"SELECT count(*) FROM sample WHERE {self.units.sql} <> round({self.units.sql})")
            if broken:
                return (
                    f"greatest(1, CAST(round(abs({self.units.sql})) AS BIGINT))",
                    f"{self.units.name} is not whole in {broken:,} rows and is rounded. Is it weight or volume? "
                    "Multiply it so that 1 is a small package.",
                )
        return f"CAST(abs({self.units.sql}) AS BIGINT)", ""

    def category_name(self) -> str:
        """Return the category as SQL, without the characters that its contract refuses."""
        assert self.category is not None
        text = f"coalesce(CAST({self.category.sql} AS VARCHAR), 'unknown')"
        return f"replace(replace({text}, '|', '/'), ',', ' ')"
