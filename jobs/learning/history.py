"""History: the cells of recorded files as rows per listing, period, segment and price, in DuckDB.

A mapping makes records of the files (:mod:`jobs.replay.mapped_data`), and the cell query counts them
(features/cells/query.py), so that a row is refused, repeated or counted by the same rules as on the stream. The
cells of a period are then added. Sums are over integers, or in a fixed order, so that threads change no result.

A series is a listing. Series are numbered by tenant, category, SKU and market, so that the series of a product
are consecutive. A listing has the category, currency and pack size of its newest catalog entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.cells.query import FACTS, GOOD, GROUP
from features.elasticity.settings import ElasticitySettings
from jobs.hosting.cell_query import CellQuery
from jobs.learning.covariate_values import add_covariates
from jobs.learning.reference_prices import Moment, moments_of, out_of_stock
from jobs.replay.mapped_data import MappedData
from schemas.codes import RejectCode
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH_ROWS = 200_000
"""Rows that are held as arrays at a time."""
_MINUTE_END = f"rt - rt % {MINUTE_MS} + {MINUTE_MS}"
_LISTING = ("tenant", "market", "sku")


@dataclass(frozen=True, slots=True)
class Series:
    """A listing, as its newest catalog entry describes it; money in minor units."""

    tenant: str
    market: str
    sku: str
    category: str
    currency: str
    cost_minor: int | None
    list_minor: int | None

    @property
    def product(self) -> tuple[str, str, str]:
        """Tenant, category and SKU."""
        return self.tenant, self.category, self.sku


class PriceRows(NamedTuple):
    """Rows per series, period, segment and price, as arrays of one length.

    ``weighted_offer`` is the sum over cells of weight times log reference price (as a deviation); the weight is
    the exposures (poisson) or the units (within). ``weighted_covariates`` (R, C) are those of the covariates.
    """

    period: Ints
    series: Ints
    segment: Ints
    price: Ints
    exposures: Floats
    orders: Floats
    units: Floats
    weighted_offer: Floats
    weight: Floats
    weighted_covariates: Floats

    def take(self, index: Any) -> PriceRows:
        """Return the selected rows."""
        return PriceRows(*(column[index] for column in self))


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers of records: counted in cells, repeated order lines, and refused for want of a catalog entry."""

    counted: int
    repeated: int
    unknown_listing: int
    wrong_currency: int


class History:
    """The cells of mapped files, by period.

    Parameters
    ----------
    mapped : the records of the files; its mapping should have one bucket, since ticks are of no use here.
    settings : length of a period, kind of model, rivals.
    """

    def __init__(self, mapped: MappedData, settings: ElasticitySettings) -> None:
        self._duck = mapped.duck
        self._settings = settings
        mapped.fill_lines()
        CellQuery.of_tables(self._duck)
        self._number_series()
        self.series = self._read_series()
        self._place_cells()
        add_covariates(self._duck, settings.covariates)
        self.counts = self._count_records()
        self.segments: tuple[str, ...] = tuple(
            row[0] for row in self._all("SELECT DISTINCT segment FROM placed ORDER BY 1")
        )
        self.out_ms = self._add_periods()
        first, last, self.rows = self._all("SELECT min(period), max(period), count(*) FROM period_rows")[0]
        self.first_period: int = 0 if first is None else first
        self.last_period: int = -1 if last is None else last

    # -- building the tables -----------------------------------------------------------------------

    def _number_series(self) -> None:
        self._duck.execute(
            f"""
CREATE TABLE entries AS
SELECT {", ".join(_LISTING)}, {_MINUTE_END} AS window_end_ms, max_by(currency, (event_time_ms, p, o)) AS currency
FROM judged_catalog WHERE {GOOD} GROUP BY ALL"""
        )
        self._duck.execute(
            f"""
CREATE TABLE series AS
SELECT row_number() OVER (ORDER BY tenant, category, sku, market) - 1 AS series, *
FROM (
  SELECT *, min({_MINUTE_END}) OVER (PARTITION BY {", ".join(_LISTING)}) AS since_ms
  FROM judged_catalog WHERE {GOOD}
  QUALIFY row_number() OVER (PARTITION BY {", ".join(_LISTING)} ORDER BY event_time_ms DESC, p DESC, o DESC) = 1
)"""
        )

    def _read_series(self) -> tuple[Series, ...]:
        rows = self._all(
            "SELECT tenant, market, sku, category, currency, cost_minor, list_minor FROM series ORDER BY series"
        )
        return tuple(Series(*row) for row in rows)

    def _known(self, rows: str) -> str:
        """Return SQL of rows with ``series`` and the currency in force, which are NULL for an unknown listing."""
        same = " AND ".join(f"r.{name} = e.{name}" for name in _LISTING)
        return (
            f"SELECT r.*, s.series, e.currency AS own_currency FROM ({rows}) AS r "
            f"ASOF LEFT JOIN entries AS e ON {same} AND r.window_end_ms >= e.window_end_ms "
            f"LEFT JOIN series AS s ON {same.replace('e.', 's.')}"
        )

    def _place_cells(self) -> None:
        """Create ``placed``: the cells of known listings in their currency that learning reads."""
        # The parts of the cell query that learning reads: without sessions, which take as long as all others.
        names = f"window_end_ms, {', '.join(GROUP)}"
        shown = f"SELECT {names}, exposures, 0 AS orders, 0 AS units FROM quotes_counted WHERE exposures <> 0"
        sold = f"SELECT {names}, 0 AS exposures, orders, units FROM orders_counted WHERE orders <> 0 OR units <> 0"
        known = self._known(f"{shown} UNION ALL {sold}")
        self._duck.execute(
            "CREATE TABLE placed AS SELECT series, window_end_ms, segment, price_minor, exposures, orders, units "
            f"FROM ({known}) WHERE own_currency IS NOT NULL AND own_currency = currency"
        )

    def _count_records(self) -> Counted:
        names = ", ".join((*_LISTING, "currency"))
        rows = " UNION ALL ".join(
            f"SELECT {names}, {_MINUTE_END} AS window_end_ms FROM {view} WHERE {GOOD} AND {which}"
            for view, which in (("judged_quotes", "bot IS NOT TRUE"), ("orders_first", "kind <> 'paid'"))
        )
        counted, unknown, other = self._all(
            "SELECT count(*) FILTER (WHERE own_currency = currency), "
            "count(*) FILTER (WHERE own_currency IS NULL), count(*) FILTER (WHERE own_currency <> currency) "
            f"FROM ({self._known(rows)})"
        )[0]
        repeated = self._all(
            f"SELECT count(*) FROM refused WHERE topic = '{TOPICS['orders'].topic}' "
            f"AND split_part(verdict, '|', 2) = '{RejectCode.DUPLICATE_ORDER}'"
        )[0][0]
        return Counted(counted, repeated, unknown, other)

    def _add_periods(self) -> dict[tuple[int, int], float]:
        """Create ``period_rows``; return the milliseconds out of stock by series and period."""
        s = self._settings
        out = out_of_stock(self._facts("stock"))
        offers = self._facts("offers")
        self._duck.execute(
            "CREATE TABLE moments (series BIGINT, window_end_ms BIGINT, deviation DOUBLE, share DOUBLE)"
        )
        for chunk in batched(moments_of(self._minutes_with_facts(), offers, out, s), BATCH_ROWS):
            table = pa.table(dict(zip(Moment._fields, zip(*chunk, strict=True), strict=True)))
            self._duck.register("arriving", table)
            self._duck.execute("INSERT INTO moments SELECT * FROM arriving")
            self._duck.unregister("arriving")
        period = f"(window_end_ms - 1 - {s.period_offset_ms}) // {s.period_ms}"
        key = "series, period, segment, price_minor"

        def weighted(by: str) -> str:
            named = range(len(s.covariates))
            return "".join(f", sum({by} * value_{at} ORDER BY stamp) AS weighted_{at}" for at in named)

        seen = "SELECT DISTINCT series FROM moments"
        weight = "greatest(units, 0)" if s.kind == "within" else "exposures * share"
        always, stamp = weight.replace(" * share", ""), "(window_end_ms, exposures, orders, units)"
        # Listings without facts need integer sums alone; the others are added in the order of time.
        self._duck.execute(
            f"""
CREATE TABLE period_rows AS
SELECT {key}, CAST(sum(exposures) AS DOUBLE) AS exposures, CAST(sum(orders) AS DOUBLE) AS orders,
  CAST(sum(units) AS DOUBLE) AS units, CAST(0 AS DOUBLE) AS weighted_offer,
  CAST(sum({always}) AS DOUBLE) AS weight{weighted(always)}
FROM (SELECT *, {period} AS period, {stamp} AS stamp FROM placed WHERE series NOT IN ({seen})) GROUP BY {key}
UNION ALL
SELECT {key}, sum(exposures * share ORDER BY stamp), CAST(sum(orders) AS DOUBLE), CAST(sum(units) AS DOUBLE),
  sum({weight} * deviation ORDER BY stamp), sum(CAST({weight} AS DOUBLE) ORDER BY stamp){weighted(weight)}
FROM (SELECT *, {period} AS period, {stamp} AS stamp FROM placed JOIN moments USING (series, window_end_ms))
GROUP BY {key}"""
        )
        self._duck.execute("DROP TABLE placed")
        return out.by_period(s.period_ms, s.period_offset_ms, self._last_ms())

    def _last_ms(self) -> int:
        s = self._settings
        last = self._all("SELECT max(period) FROM period_rows")[0][0]
        return 0 if last is None else (last + 1) * s.period_ms + s.period_offset_ms

    def _facts(self, name: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yield (series, end of the minute, record) of the valid facts of known listings, by series and time."""
        assert name in FACTS
        fields = ", ".join(f'f."{check.field}"' for check in TOPICS[name].checks)
        same = " AND ".join(f"f.{column} = s.{column}" for column in _LISTING)
        cursor = self._duck.cursor().execute(
            f"SELECT s.series, {_MINUTE_END.replace('rt', 'f.rt')} AS window_end_ms, {fields}, "
            "s.currency AS own_currency, s.pack_size AS own_pack "
            f"FROM judged_{name} AS f JOIN series AS s ON {same} WHERE {GOOD.replace('verdict', 'f.verdict')} "
            f"AND {_MINUTE_END.replace('rt', 'f.rt')} >= s.since_ms ORDER BY s.series, window_end_ms, f.p, f.o"
        )
        names = [column[0] for column in cursor.description or []]
        while rows := cursor.fetchmany(10_000):
            for row in rows:
                yield row[0], row[1], dict(zip(names[2:], row[2:], strict=True))

    def _minutes_with_facts(self) -> Iterator[tuple[int, int]]:
        facts = " UNION ".join(f"SELECT {', '.join(_LISTING)} FROM judged_{name}" for name in ("offers", "stock"))
        cursor = self._duck.cursor().execute(
            f"SELECT DISTINCT series, window_end_ms FROM placed WHERE series IN (SELECT series FROM series "
            f"JOIN ({facts}) USING ({', '.join(_LISTING)})) ORDER BY ALL"
        )
        while rows := cursor.fetchmany(10_000):
            yield from rows

    # -- reading -----------------------------------------------------------------------------------

    def by_period(self) -> Iterator[PriceRows]:
        """Yield the rows of each period, in ascending order, sorted by series, segment and price."""
        yield from self._pieces("period, series, segment, price_minor", "period")

    def by_series(self, first: int = 0, last: int | None = None) -> Iterator[PriceRows]:
        """Yield the rows of whole series, about ``BATCH_ROWS`` at a time, sorted by series and period."""
        which = f"series >= {first}" + (f" AND series <= {last}" if last is not None else "")
        yield from self._pieces("series, period, segment, price_minor", "series", which, BATCH_ROWS)

    def _pieces(self, order: str, whole: str, which: str = "true", at_least: int = 1) -> Iterator[PriceRows]:
        """Yield pieces of at least so many rows that separate no rows of equal ``whole``."""
        more = "".join(f", weighted_{at}" for at in range(len(self._settings.covariates)))
        codes = ", ".join("'" + name.replace("'", "''") + "'" for name in self.segments)
        found = self._duck.cursor().sql(
            f"SELECT period, series, list_position([{codes}], segment) - 1 AS segment, price_minor AS price, "
            f"exposures, orders, units, weighted_offer, weight{more} FROM period_rows "
            f"WHERE {which} ORDER BY {order}"
        )
        held: list[PriceRows] = []
        for batch in found.to_arrow_reader(BATCH_ROWS):
            columns = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(batch.num_columns)]
            numbers = [column.astype(np.float64) for column in columns[4:]]
            covariates = np.array(numbers[5:]).reshape(len(numbers) - 5, batch.num_rows).T
            whole_numbers = [column.astype(np.int64) for column in columns[:4]]
            rows = PriceRows(*[*whole_numbers, *numbers[:5], covariates])
            held = [PriceRows(*(np.concatenate(parts) for parts in zip(*held, rows, strict=True)))]
            mark = getattr(held[0], whole)
            ends = np.flatnonzero(np.diff(mark)) + 1
            start = 0
            for end in ends.tolist():
                if end - start >= at_least:
                    yield held[0].take(slice(start, end))
                    start = end
            held = [held[0].take(slice(start, None))]
        if held and held[0].period.size:
            yield held[0]

    def _all(self, text: str) -> list[Any]:
        return self._duck.execute(text).fetchall()


def batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of at most ``size``."""
    while chunk := list(islice(items, size)):
        yield chunk
