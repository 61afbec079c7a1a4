"""Values of covariates at the minutes of a history's cells, in DuckDB.

The rules are those of features/books/covariates.py. At the end of a minute a covariate has the value of its newest
record by event time, of those that arrived until then and not before the listing's first catalog entry; of equal
times, that of the later record in canonical order. Before the first record it is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from duckdb import DuckDBPyConnection

from features.cells.query import GOOD
from schemas.time_units import MINUTE_MS

_MINUTE_END = f"f.rt - f.rt % {MINUTE_MS} + {MINUTE_MS}"


def add_covariates(duck: DuckDBPyConnection, names: Sequence[str]) -> None:
    """Add a column ``value_<n>`` with the value of the n-th covariate to the table ``placed``.

    Parameters
    ----------
    duck : with the tables ``placed`` and ``series`` of a history and the view ``judged_covariates``.
    names : covariates that are regressors, in their order; without any, nothing changes.
    """
    if not names:
        return
    columns, joins = "", ""
    for at, name in enumerate(names):
        duck.execute(_newest(at), {"name": name})
        columns += f", coalesce(c{at}.value, 0.0) AS value_{at}"
        joins += (
            f" ASOF LEFT JOIN covariate_{at} AS c{at} ON p.series = c{at}.series "
            f"AND p.window_end_ms >= c{at}.window_end_ms"
        )
    duck.execute(f"CREATE TABLE placed_with_values AS SELECT p.*{columns} FROM placed AS p{joins}")
    duck.execute("DROP TABLE placed")
    duck.execute("ALTER TABLE placed_with_values RENAME TO placed")
    for at in range(len(names)):
        duck.execute(f"DROP TABLE covariate_{at}")


def _newest(at: int) -> str:
    """Return SQL that creates the table of a covariate's values by series and end of the minute."""
    same = " AND ".join(f"f.{column} = s.{column}" for column in ("tenant", "market", "sku"))
    return f"""
CREATE TABLE covariate_{at} AS
SELECT series, window_end_ms, newest.value AS value
FROM (
  SELECT series, window_end_ms, place,
    max({{'at_ms': event_time_ms, 'place': place, 'value': value}})
      OVER (PARTITION BY series ORDER BY place) AS newest
  FROM (
    SELECT s.series, {_MINUTE_END} AS window_end_ms, f.event_time_ms, CAST(f.value AS DOUBLE) AS value,
      row_number() OVER (PARTITION BY s.series ORDER BY {_MINUTE_END}, f.p, f.o) AS place
    FROM judged_covariates AS f JOIN series AS s ON {same}
    WHERE {GOOD.replace("verdict", "f.verdict")} AND f.name = $name AND {_MINUTE_END} >= s.since_ms
  )
)
QUALIFY row_number() OVER (PARTITION BY series, window_end_ms ORDER BY place DESC) = 1"""
