"""A data folder seen through a mapping: records, refusals and the balance, held in a temporary DuckDB file.

Every entry of the mapping becomes one table ``made_<i>``: its rows with our fields typed as the contract wants them
and the contract's verdict beside them. Everything else (records in event-time order, refusals, the balance, the
tables that :mod:`jobs.runtime.cell_query` reads) is a query over these tables, so memory does not grow with the
data: DuckDB compresses the tables into its file and keeps at most ``memory`` of them.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import orjson

from features.cells import DUCKDB, expected
from jobs.runtime.mapping import STREAMS, Entry, Mapping, MappingError, Source
from schemas.codes import RejectCode
from schemas.topics import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    INPUTS,
    MINUTE_MS,
    ORDER_DEDUP_MS,
    STRING,
    TOPICS,
    Check,
    kafka_key,
)

NO_PRIMARY, ONCE_PER, NO_REPEAT = "NO_PRIMARY_ENTRY", "DROPPED_BY_ONCE_PER", "REPEATED_ZERO_TIMES"
REFUSAL_CODES = (*(code.value for code in RejectCode), NO_PRIMARY, ONCE_PER, NO_REPEAT)
"""Every code a refusal can carry."""
_LINE_OF = ("calendar", "commands")
"""Streams whose lines are read again as facts (:data:`jobs.runtime.chain.FACTS_OF_A_REPLAY`)."""
_SQL_TYPES = {STRING: "VARCHAR", BIGINT: "BIGINT", DOUBLE: "DOUBLE", BOOLEAN: "BOOLEAN"}
_WHOLE = frozenset(
    f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
)
_GOT_LENGTH = 100
_ROWS = 10_000


class Made(NamedTuple):
    """A record made of a row, ready to send."""

    event_time_ms: int
    stream: str
    key: str
    value: bytes


class Refused(NamedTuple):
    """A row (or a record made of it) that counts nowhere: where, why, what was expected and what came."""

    file: str
    row: int
    stream: str
    field: str
    code: str
    expected: str
    got: str

    def __str__(self) -> str:
        field = f"{self.stream}.{self.field}" if self.stream else "row"
        return f"row {self.row} of {self.file}: {field}: expected {self.expected}; got {self.got} ({self.code})"


class Balance(NamedTuple):
    """A source's account: ``rows == primary + refused + dropped`` when every row found its place.

    ``dropped``: rows that ``once_per`` of a primary entry left out; ``derived``: records of entries not primary.
    """

    source: str
    rows: int
    primary: int
    refused: int
    dropped: int
    derived: int

    @property
    def balances(self) -> bool:
        """Whether no row was lost; a source without primaries has no account to balance."""
        return self.rows == self.primary + self.refused + self.dropped

    def __str__(self) -> str:
        dropped = f" + {self.dropped} dropped by once_per" if self.dropped else ""
        verdict = "balances" if self.balances else "DOES NOT BALANCE"
        return (
            f"{self.source}: {self.rows} rows = {self.primary} records + {self.refused} refused{dropped} "
            f"(+ {self.derived} derived records): {verdict}"
        )


def heartbeats(first_ms: int, last_ms: int, tick_minutes: int) -> Iterator[int]:
    """Yield the times of a replay's ticks: every period between the records, and two past the last window.

    The first closing one lies in the minute after the last record; the second, an hour later, moves
    the watermark past it whatever the lateness.

    >>> list(heartbeats(90_000, 90_000, 1)), list(heartbeats(90_000, 130_000, 1))
    ([120000, 3780000], [120000, 180000, 3840000])
    """
    period = tick_minutes * MINUTE_MS
    yield from range((first_ms // period + 1) * period, last_ms + 1, period)
    closing = (last_ms // MINUTE_MS + 1) * MINUTE_MS
    yield closing
    yield closing + 61 * MINUTE_MS


class MappedData:
    """A data folder seen through a mapping.

    Parameters
    ----------
    mapping : the mapping.
    folder : where its files are.
    limit : take only the first so many rows of each source (0: all).
    memory : what DuckDB may hold in memory, as in its setting ``memory_limit``.
    scratch : folder for the temporary database; None: the system's.

    Raises
    ------
    MappingError
        If a file is missing, or an expression names a column that is not there or cannot be computed.
    """

    def __init__(
        self,
        mapping: Mapping,
        folder: Path,
        *,
        limit: int = 0,
        memory: str = "512MB",
        scratch: Path | None = None,
    ) -> None:
        self.mapping = mapping
        self._scratch = tempfile.TemporaryDirectory(prefix="replay-", dir=scratch)
        self.duck = duckdb.connect(str(Path(self._scratch.name) / "replay.duckdb"))
        self.duck.execute("SET TimeZone = 'UTC'")
        self.duck.execute(f"SET memory_limit = '{memory}'")
        for name, source in mapping.sources.items():
            self._open(name, source, folder, limit)
        self.duck.execute("SET enable_external_access = false")
        self.duck.execute(
            "CREATE TABLE refusals (source VARCHAR, file VARCHAR, row_number BIGINT, stream VARCHAR, field VARCHAR, "
            "code VARCHAR, got VARCHAR, is_primary BOOLEAN)"
        )
        for i, entry in enumerate(mapping.streams):
            try:
                self._make(i, entry)
            except duckdb.Error as error:
                raise MappingError(f"streams.{i} ({entry.stream} from {entry.source}): {error}") from error
        self._refuse_untaken()

    def close(self) -> None:
        """Close and delete the temporary database."""
        self.duck.close()
        self._scratch.cleanup()

    def __enter__(self) -> MappedData:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading the files -------------------------------------------------------------------------

    def _open(self, name: str, source: Source, folder: Path, limit: int) -> None:
        path = folder / source.file
        if not path.is_file():
            raise MappingError(f"sources.{name}.file: expected {source.file} in {folder}, found none")
        try:
            reader = (
                self.duck.from_parquet(str(path))
                if path.suffix == ".parquet"
                else self.duck.read_csv(str(path), header=True, dtype=source.types or None, sample_size=-1)  # type: ignore[arg-type]
            )
            (reader.limit(limit) if limit else reader).create_view("file", replace=True)
        except duckdb.Error as error:
            raise MappingError(f"sources.{name}.file: {path}: {error}") from error
        more = "".join(f', ({expression}) AS "{column}"' for column, expression in source.columns.items())
        numbered = "SELECT row_number() OVER () AS row_number, * FROM file"
        try:
            self.duck.execute(f'CREATE TABLE "{name}" AS SELECT *{more} FROM ({numbered})')
        except duckdb.Error as error:
            raise MappingError(f"sources.{name}.columns: {error}") from error

    def _taken(self, entry: Entry) -> str:
        """SQL of the rows that an entry takes, with ``n`` counting a row's records."""
        once = f"QUALIFY row_number() OVER (PARTITION BY ({entry.once_per}) ORDER BY row_number) = 1"
        return (
            f'SELECT *, unnest(range(CAST(({entry.repeat}) AS BIGINT))) AS n FROM "{entry.source}" '
            f"WHERE ({entry.where}) {once if entry.once_per else ''}"
        )

    def _make(self, i: int, entry: Entry) -> None:
        """Create ``made_<i>``, and note what the contract refuses."""
        topic = STREAMS[entry.stream]
        fields = {check.field for check in topic.checks}
        values = {name: _literal(value) for name, value in self.mapping.constants.items() if name in fields}
        values |= {name: f"({expression})" for name, expression in entry.fields.items()}
        raw = ", ".join(f'{expression} AS "raw {name}"' for name, expression in values.items())
        text = f"SELECT row_number, n, {raw} FROM ({self._taken(entry)})"
        types = {row[0]: row[1] for row in self.duck.execute(f"DESCRIBE {text}").fetchall()}
        typed = ", ".join(
            f'{_typed(check, types.get(f"raw {check.field}"))} AS "{check.field}"' for check in topic.checks
        )
        got = " ".join(f"""WHEN '{name}' THEN CAST("raw {name}" AS VARCHAR)""" for name in values)
        verdict = DUCKDB.text(topic.rejection_sql(None)).replace("AS STRING", "AS VARCHAR")
        line = ", ".join(f"""'{name}', "{name}\"""" for name in values)
        as_json = f"CAST(json_object({line}) AS VARCHAR)" if entry.stream in _LINE_OF else "CAST(NULL AS VARCHAR)"
        names = ", ".join(f'"{check.field}"' for check in topic.checks)
        self.duck.execute(
            f"CREATE TABLE made_{i} AS SELECT row_number, n, {names}, verdict, {as_json} AS line_json, "
            f"CASE WHEN verdict IS NOT NULL THEN left(CASE split_part(verdict, '|', 1) {got} END, {_GOT_LENGTH}) END "
            f"AS got FROM (SELECT *, {verdict} AS verdict FROM (SELECT *, {typed} FROM ({text})))"
        )
        self.duck.execute(
            "INSERT INTO refusals SELECT ?, ?, row_number, ?, split_part(verdict, '|', 1), split_part(verdict, '|', 2), "
            f"coalesce(got, 'NULL'), ? FROM made_{i} WHERE verdict IS NOT NULL",
            [entry.source, self.mapping.sources[entry.source].file, entry.stream, entry.primary],
        )

    def _refuse_untaken(self) -> None:
        """Note every row of a source with primaries that became no record, and why."""
        for name, source in self.mapping.sources.items():
            primaries = [(i, e) for i, e in enumerate(self.mapping.streams) if e.primary and e.source == name]
            if not primaries:
                continue
            made = " UNION ALL ".join(f"SELECT row_number FROM made_{i}" for i, _ in primaries)
            left = f"SELECT * FROM \"{name}\" WHERE row_number NOT IN ({made} UNION ALL SELECT row_number FROM refusals WHERE source = '{name}' AND is_primary)"
            for _, entry in primaries:
                code, field, got = (
                    (ONCE_PER, "once_per", f"CAST(({entry.once_per}) AS VARCHAR)")
                    if entry.once_per
                    else (NO_REPEAT, "repeat", f"CAST(({entry.repeat}) AS VARCHAR)")
                )
                self._note(name, source, entry.stream, field, code, got, f"({left}) WHERE ({entry.where})")
            self._note(name, source, "", "", NO_PRIMARY, "'no entry takes this row'", f"({left})")

    def _note(self, name: str, source: Source, stream: str, field: str, code: str, got: str, rows: str) -> None:
        self.duck.execute(
            f"INSERT INTO refusals SELECT ?, ?, row_number, ?, ?, ?, coalesce(left({got}, {_GOT_LENGTH}), 'NULL'), true "
            f"FROM {rows}",
            [name, source.file, stream, field, code],
        )

    # -- asking ------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counter[str]:
        """Good records by stream."""
        counts: Counter[str] = Counter()
        for i, entry in enumerate(self.mapping.streams):
            counts[entry.stream] += self._number(f"SELECT count(*) FROM made_{i} WHERE verdict IS NULL")
        return +counts

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last event time of the good records; None without any."""
        times = " UNION ALL ".join(
            f"SELECT event_time_ms FROM made_{i} WHERE verdict IS NULL" for i in range(len(self.mapping.streams))
        )
        first, last = self.duck.execute(
            f"SELECT min(event_time_ms), max(event_time_ms) FROM ({times})"
        ).fetchall()[0]
        return None if first is None else (first, last)

    def balance(self) -> list[Balance]:
        """The account of every source that has a primary entry."""
        accounts = []
        for name in self.mapping.sources:
            made = {True: 0, False: 0}
            entries = [(i, e) for i, e in enumerate(self.mapping.streams) if e.source == name]
            for i, entry in entries:
                made[entry.primary] += self._number(f"SELECT count(*) FROM made_{i} WHERE verdict IS NULL")
            if not any(entry.primary for _, entry in entries):
                continue
            lost = (
                f"SELECT count(DISTINCT row_number) FROM refusals WHERE source = '{name}' AND is_primary AND code"
            )
            accounts.append(
                Balance(
                    name,
                    self._number(f'SELECT count(*) FROM "{name}"'),
                    made[True],
                    self._number(f"{lost} <> '{ONCE_PER}'"),
                    self._number(f"{lost} = '{ONCE_PER}'"),
                    made[False],
                )
            )
        return accounts

    def refusal_counts(self) -> dict[tuple[str, str, str], int]:
        """How many records were refused by (stream, field, code), sorted."""
        rows = self.duck.execute(
            "SELECT stream, field, code, count(*) FROM refusals GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        return {(stream, field, code): count for stream, field, code, count in rows}

    def refusals(self, first: int | None = None) -> Iterator[Refused]:
        """Yield the refusals by stream, field, code, file and row; of each kind at most the ``first``."""
        few = f"QUALIFY row_number() OVER (PARTITION BY stream, field, code ORDER BY file, row_number) <= {first}"
        cursor = self.duck.cursor().execute(
            "SELECT file, row_number, stream, field, code, got FROM refusals "
            f"{few if first is not None else ''} ORDER BY stream, field, code, file, row_number, got"
        )
        while rows := cursor.fetchmany(_ROWS):
            for file, row, stream, field, code, got in rows:
                yield Refused(file, row, stream, field, code, _expected(stream, field, code), got)

    def repeats(self) -> Iterator[Refused]:
        """Yield the good records that demand_job's query refuses: repeated order lines, by row.

        To be called after :meth:`jobs.runtime.cell_query.Backfill.of_tables` judged what :meth:`fill_lines` made.
        """
        files = [self.mapping.sources[entry.source].file for entry in self.mapping.streams]
        cursor = self.duck.cursor().execute(
            "SELECT again.entry, again.row_number, split_part(r.verdict, '|', 1), split_part(r.verdict, '|', 2), "
            "first.entry, first.row_number, again.order_id, again.line, again.kind FROM refused AS r "
            f"JOIN judged_orders AS again ON again.o = r.o AND r.topic = '{TOPICS['orders'].topic}' "
            "JOIN judged_orders AS first ON first.o = CAST(split_part(r.verdict, 'first at offset ', 2) AS BIGINT) "
            "ORDER BY 1, 2"
        )
        days = f"{ORDER_DEDUP_MS / 86_400_000:g} days"
        while rows := cursor.fetchmany(_ROWS):
            for entry, row, field, code, first, first_row, order, line, kind in rows:
                known = f"each order line once in {days} (first: row {first_row} of {files[first]})"
                got = f"order_id {order}, line {line}, {kind} again"
                yield Refused(files[entry], row, "orders", field, code, known, got)

    def without_entry(self) -> tuple[int, int]:
        """How many quotes, clicks and orders there are, and how many have no catalog entry of their minute or before."""
        key, minute = "tenant, market, sku", f"event_time_ms // {MINUTE_MS}"

        def union(streams: tuple[str, ...]) -> str:
            made = [i for i, entry in enumerate(self.mapping.streams) if entry.stream in streams]
            parts = [f"SELECT {key}, {minute} AS at_minute FROM made_{i} WHERE verdict IS NULL" for i in made]
            return (
                " UNION ALL ".join(parts)
                or "SELECT '' AS tenant, '' AS market, '' AS sku, 0 AS at_minute WHERE false"
            )

        known = f"SELECT {key}, min(at_minute) AS since FROM ({union(('catalog',))}) GROUP BY ALL"
        sold = union(("quotes", "clicks", "orders"))
        text = (
            f"SELECT count(*), count(*) FILTER (WHERE since IS NULL OR since > at_minute) "
            f"FROM ({sold}) LEFT JOIN ({known}) USING ({key})"
        )
        total, without = self.duck.execute(text).fetchall()[0]
        return total, without

    def records(self) -> Iterator[Made]:
        """Yield all good records by event time, then by the order of the entries and rows."""
        entries = (self._records(i, entry) for i, entry in enumerate(self.mapping.streams))
        return (made for _, _, _, _, made in heapq.merge(*entries, key=lambda item: item[:4]))

    def _records(self, i: int, entry: Entry) -> Iterator[tuple[int, int, int, int, Made]]:
        fields = [
            check.field
            for check in STREAMS[entry.stream].checks
            if check.field in entry.fields or check.field in self.mapping.constants
        ]
        names = ", ".join(f'"{field}"' for field in fields)
        cursor = self.duck.cursor().execute(
            f"SELECT row_number, n, {names} FROM made_{i} WHERE verdict IS NULL ORDER BY event_time_ms, row_number, n"
        )
        while rows := cursor.fetchmany(_ROWS):
            for row, n, *values in rows:
                record = dict(zip(fields, values, strict=True))
                at_ms = record["event_time_ms"]
                made = Made(at_ms, entry.stream, kafka_key(entry.stream, record), orjson.dumps(record))
                yield at_ms, i, row, n, made

    def fill_lines(self) -> None:
        """Create ``lines_<topic>`` of every input, as :class:`jobs.runtime.cell_query.Backfill` reads them.

        They are what a broker with one partition a topic would keep, decoded: a record's offset is its place by
        event time, its Kafka time its event time. ``entry`` and ``row_number`` say where it came from.
        """
        span = self.span
        beats = list(heartbeats(*span, self.mapping.tick_minutes)) if span else []
        for topic in INPUTS:
            if topic.name == "ticks":
                continue
            names = ", ".join(f'"{check.field}"' for check in topic.checks)
            parts = [
                f"SELECT {i} AS entry, row_number, n, {names}, line_json FROM made_{i} WHERE verdict IS NULL"
                for i, entry in enumerate(self.mapping.streams)
                if entry.stream == topic.name
            ]
            if not parts:
                typed = ", ".join(f'CAST(NULL AS {_SQL_TYPES[c.type]}) AS "{c.field}"' for c in topic.checks)
                parts = [
                    f"SELECT 0 AS entry, CAST(0 AS BIGINT) AS row_number, CAST(0 AS BIGINT) AS n, {typed}, "
                    "CAST(NULL AS VARCHAR) AS line_json WHERE false"
                ]
            self.duck.execute(
                f"CREATE TABLE lines_{topic.name} AS SELECT {names}, entry, row_number, CAST(NULL AS BOOLEAN) AS tick, "
                "CAST(NULL AS VARCHAR) AS line_verdict, encode(line_json) AS line_bytes, 0 AS p, "
                "row_number() OVER (ORDER BY event_time_ms, entry, row_number, n) - 1 AS o, "
                f"event_time_ms AS kafka_ts_ms FROM ({' UNION ALL '.join(parts)})"
            )
        self.duck.execute(
            "CREATE TABLE lines_ticks AS SELECT at_ms AS event_time_ms, bucket, true AS tick, "
            "CAST(NULL AS VARCHAR) AS line_verdict, CAST(NULL AS BLOB) AS line_bytes, 0 AS p, "
            "row_number() OVER (ORDER BY at_ms, bucket) - 1 AS o, at_ms AS kafka_ts_ms "
            "FROM (SELECT unnest(CAST(? AS BIGINT[])) AS at_ms), (SELECT unnest(range(?)) AS bucket)",
            [beats, self.mapping.buckets],
        )

    def _number(self, text: str) -> int:
        return int(self.duck.execute(text).fetchall()[0][0])


_EXPECTED = {
    NO_PRIMARY: "a row that the `where` of a primary entry takes",
    ONCE_PER: "the first row of each value of `once_per`",
    NO_REPEAT: "a `repeat` of at least 1 in a primary entry",
}


def _expected(stream: str, field: str, code: str) -> str:
    """The limit that a refused row breaks, in words."""
    if code in _EXPECTED:
        return _EXPECTED[code]
    return next(expected(check) for check in STREAMS[stream].checks if check.field == field)


def _literal(value: Any) -> str:
    """A constant as SQL, of the type that YAML gave it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"CAST('{value!r}' AS DOUBLE)"
    return "'" + str(value).replace("'", "''") + "'"


def _typed(check: Check, sql_type: str | None) -> str:
    """SQL of a field as the contract's type; NULL where the expression is of another type."""
    raw, wanted = f'"raw {check.field}"', _SQL_TYPES[check.type]
    if check.type == STRING and sql_type is not None and (sql_type == "VARCHAR" or sql_type.startswith("ENUM")):
        return f"CAST({raw} AS VARCHAR)"
    if check.type == BIGINT and sql_type in _WHOLE:
        return f"TRY_CAST({raw} AS BIGINT)"
    if check.type == DOUBLE and sql_type in _WHOLE:
        return f"CAST({raw} AS DOUBLE)"
    if check.type == DOUBLE and sql_type in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN isfinite({raw}) THEN CAST({raw} AS DOUBLE) END"
    if check.type == BOOLEAN and sql_type == "BOOLEAN":
        return raw
    return f"CAST(NULL AS {wanted})"
