"""A data folder seen through a mapping: records, refusals and the balance, in a temporary DuckDB file.

Every entry of the mapping becomes one table ``mapped_<i>``: its rows with the contract's fields in their types,
and the contract's verdict. Everything else (records in event-time order, refusals, the balance, the tables that
:mod:`jobs.hosting.cell_query` reads) is a query over these tables. Memory therefore does not grow with the data:
DuckDB compresses the tables into its file and keeps at most ``memory`` of them.

The module has over 300 lines because all queries read the tables of one database. A split would separate a query
from the columns that it relies on.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import orjson

from jobs.replay.entry_sql import GOT_LENGTH, SQL_TYPES, mapped_sql, raw_sql
from jobs.replay.mapping import STREAMS, Entry, Mapping, MappingError, Source
from jobs.replay.records import (
    NO_PRIMARY,
    NO_REPEAT,
    ONCE_PER,
    Balance,
    MappedRecord,
    Refused,
    limit_of,
    tick_times,
)
from schemas.time_units import DAY_MS, MINUTE_MS
from schemas.topics import INPUTS, ORDER_DEDUP_MS, TOPICS, kafka_key

_ROWS = 10_000


class MappedData:
    """A data folder seen through a mapping.

    Parameters
    ----------
    mapping : the mapping.
    folder : where its files are.
    limit : use only the first so many rows of each source (0: all).
    memory : DuckDB's ``memory_limit``.
    scratch : folder for the temporary database; None: the system's.
    files : paths of each source, read one after another as one table; None: the source's file in ``folder``.

    Raises
    ------
    MappingError
        If a file is missing, or an expression names a missing column or cannot be computed.
    """

    def __init__(
        self,
        mapping: Mapping,
        folder: Path,
        *,
        limit: int = 0,
        memory: str = "512MB",
        scratch: Path | None = None,
        files: dict[str, list[Path]] | None = None,
    ) -> None:
        self.mapping = mapping
        self._scratch = tempfile.TemporaryDirectory(prefix="replay-", dir=scratch)
        self.duck = duckdb.connect(str(Path(self._scratch.name) / "replay.duckdb"))
        self.duck.execute("SET TimeZone = 'UTC'")
        self.duck.execute("SET enable_progress_bar = false")
        self.duck.execute(f"SET memory_limit = '{memory}'")
        for name, source in mapping.sources.items():
            self._open(name, source, files[name] if files is not None else [folder / source.file], limit)
        self.duck.execute("SET enable_external_access = false")
        self.duck.execute(
            "CREATE TABLE refusals (source VARCHAR, file VARCHAR, row_number BIGINT, stream VARCHAR, "
            "field VARCHAR, code VARCHAR, got VARCHAR, is_primary BOOLEAN)"
        )
        for i, entry in enumerate(mapping.streams):
            try:
                self._make(i, entry)
            except duckdb.Error as error:
                raise MappingError(f"{mapping.place(i)} ({entry.stream} from {entry.source}): {error}") from error
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

    def _open(self, name: str, source: Source, paths: list[Path], limit: int) -> None:
        for path in paths:
            if not path.is_file():
                raise MappingError(f"sources.{name}.file: expected {path.name} in {path.parent}, found none")
        texts = [str(path) for path in paths]
        try:
            reader = (
                self.duck.from_parquet(texts)
                if paths[0].suffix == ".parquet"
                else self.duck.read_csv(texts, header=True, dtype=source.types or None, sample_size=-1)  # type: ignore[arg-type]
            )
            (reader.limit(limit) if limit else reader).create_view("file", replace=True)
        except duckdb.Error as error:
            raise MappingError(f"sources.{name}.file: {', '.join(texts)}: {error}") from error
        more = "".join(f', ({expression}) AS "{column}"' for column, expression in source.columns.items())
        numbered = "SELECT row_number() OVER () AS row_number, * FROM file"
        try:
            self.duck.execute(f'CREATE TABLE "{name}" AS SELECT *{more} FROM ({numbered})')
        except duckdb.Error as error:
            raise MappingError(f"sources.{name}.columns: {error}") from error

    def _make(self, i: int, entry: Entry) -> None:
        """Create ``mapped_<i>``, and note what the contract refuses."""
        raw = raw_sql(entry, self.mapping.constants)
        types = {row[0]: row[1] for row in self.duck.execute(f"DESCRIBE {raw}").fetchall()}
        self.duck.execute(f"CREATE TABLE mapped_{i} AS {mapped_sql(entry, raw, types)}")
        self.duck.execute(
            "INSERT INTO refusals SELECT ?, ?, row_number, ?, split_part(verdict, '|', 1), "
            f"split_part(verdict, '|', 2), coalesce(got, 'NULL'), ? FROM mapped_{i} WHERE verdict IS NOT NULL",
            [entry.source, self.mapping.sources[entry.source].file, entry.stream, entry.primary],
        )

    def _refuse_untaken(self) -> None:
        """Note every row of a source with primary entries from which no record was made, and why."""
        for name, source in self.mapping.sources.items():
            primaries = [(i, e) for i, e in enumerate(self.mapping.streams) if e.primary and e.source == name]
            if not primaries:
                continue
            made = " UNION ALL ".join(f"SELECT row_number FROM mapped_{i}" for i, _ in primaries)
            noted = f"SELECT row_number FROM refusals WHERE source = '{name}' AND is_primary"
            left = f'SELECT * FROM "{name}" WHERE row_number NOT IN ({made} UNION ALL {noted})'
            for _, entry in primaries:
                code, field, got = (
                    (ONCE_PER, "once_per", f"CAST(({entry.once_per}) AS VARCHAR)")
                    if entry.once_per
                    else (NO_REPEAT, "repeat", f"CAST(({entry.repeat}) AS VARCHAR)")
                )
                rows = f"({left}) WHERE ({entry.where})"
                self._note(name, source, rows, stream=entry.stream, field=field, code=code, got=got)
            got = "'no entry matches this row'"
            self._note(name, source, f"({left})", stream="", field="", code=NO_PRIMARY, got=got)

    def _note(self, name: str, source: Source, rows: str, *, stream: str, field: str, code: str, got: str) -> None:
        self.duck.execute(
            "INSERT INTO refusals SELECT ?, ?, row_number, ?, ?, ?, "
            f"coalesce(left({got}, {GOT_LENGTH}), 'NULL'), true FROM {rows}",
            [name, source.file, stream, field, code],
        )

    # -- results -----------------------------------------------------------------------------------

    @property
    def counts(self) -> Counter[str]:
        """Number of valid records by stream."""
        counts: Counter[str] = Counter()
        for i, entry in enumerate(self.mapping.streams):
            counts[entry.stream] += self._number(f"SELECT count(*) FROM mapped_{i} WHERE verdict IS NULL")
        return +counts

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last event time of the valid records, epoch ms; None without any."""
        times = " UNION ALL ".join(
            f"SELECT event_time_ms FROM mapped_{i} WHERE verdict IS NULL" for i in range(len(self.mapping.streams))
        )
        first, last = self.duck.execute(
            f"SELECT min(event_time_ms), max(event_time_ms) FROM ({times})"
        ).fetchall()[0]
        return None if first is None else (first, last)

    def balance(self) -> list[Balance]:
        """Return the balance of every source that has a primary entry."""
        accounts = []
        for name in self.mapping.sources:
            made = {True: 0, False: 0}
            entries = [(i, e) for i, e in enumerate(self.mapping.streams) if e.source == name]
            for i, entry in entries:
                made[entry.primary] += self._number(f"SELECT count(*) FROM mapped_{i} WHERE verdict IS NULL")
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
        """Return how many records were refused by (stream, field, code), sorted."""
        rows = self.duck.execute(
            "SELECT stream, field, code, count(*) FROM refusals GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        return {(stream, field, code): count for stream, field, code, count in rows}

    def refusals(self, first: int | None = None) -> Iterator[Refused]:
        """Yield the refusals by stream, field, code, file and row; at most the ``first`` of each kind."""
        few = f"QUALIFY row_number() OVER (PARTITION BY stream, field, code ORDER BY file, row_number) <= {first}"
        cursor = self.duck.cursor().execute(
            "SELECT file, row_number, stream, field, code, got FROM refusals "
            f"{few if first is not None else ''} ORDER BY stream, field, code, file, row_number, got"
        )
        while rows := cursor.fetchmany(_ROWS):
            for file, row, stream, field, code, got in rows:
                yield Refused(
                    file=file,
                    row=row,
                    stream=stream,
                    field=field,
                    code=code,
                    expected=limit_of(stream, field, code),
                    got=got,
                )

    def repeats(self) -> Iterator[Refused]:
        """Yield the valid records that demand_job's query refuses, repeated order lines, by row.

        To be called after :meth:`fill_lines` and :meth:`jobs.hosting.cell_query.CellQuery.of_tables`.
        """
        files = [self.mapping.sources[entry.source].file for entry in self.mapping.streams]
        cursor = self.duck.cursor().execute(
            "SELECT again.entry, again.row_number, split_part(r.verdict, '|', 1), split_part(r.verdict, '|', 2), "
            "first.entry, first.row_number, again.order_id, again.line, again.kind FROM refused AS r "
            f"JOIN judged_orders AS again ON again.o = r.o AND r.topic = '{TOPICS['orders'].topic}' "
            "JOIN judged_orders AS first "
            "ON first.o = CAST(split_part(r.verdict, 'first at offset ', 2) AS BIGINT) "
            "ORDER BY 1, 2"
        )
        days = f"{ORDER_DEDUP_MS / DAY_MS:g} days"
        while rows := cursor.fetchmany(_ROWS):
            for entry, row, field, code, first, first_row, order, line, kind in rows:
                known = f"each order line once in {days} (first: row {first_row} of {files[first]})"
                got = f"order_id {order}, line {line}, {kind} again"
                yield Refused(
                    file=files[entry], row=row, stream="orders", field=field, code=code, expected=known, got=got
                )

    def without_entry(self) -> tuple[int, int]:
        """Return the number of quotes, clicks and orders, and how many have no catalog entry at or before their
        minute.
        """
        key, minute = "tenant, market, sku", f"event_time_ms // {MINUTE_MS}"

        def union(streams: tuple[str, ...]) -> str:
            made = [i for i, entry in enumerate(self.mapping.streams) if entry.stream in streams]
            parts = [f"SELECT {key}, {minute} AS at_minute FROM mapped_{i} WHERE verdict IS NULL" for i in made]
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

    def records(self) -> Iterator[MappedRecord]:
        """Yield all valid records by event time, then by the order of entries and rows."""
        entries = (self._records(i, entry) for i, entry in enumerate(self.mapping.streams))
        return (made for _, _, _, _, made in heapq.merge(*entries, key=lambda item: item[:4]))

    def _records(self, i: int, entry: Entry) -> Iterator[tuple[int, int, int, int, MappedRecord]]:
        fields = [
            check.field
            for check in STREAMS[entry.stream].checks
            if check.field in entry.fields or check.field in self.mapping.constants
        ]
        names = ", ".join(f'"{field}"' for field in fields)
        cursor = self.duck.cursor().execute(
            f"SELECT row_number, n, {names} FROM mapped_{i} WHERE verdict IS NULL "
            "ORDER BY event_time_ms, row_number, n"
        )
        while rows := cursor.fetchmany(_ROWS):
            for row, n, *values in rows:
                record = dict(zip(fields, values, strict=True))
                at_ms = record["event_time_ms"]
                made = MappedRecord(at_ms, entry.stream, kafka_key(entry.stream, record), orjson.dumps(record))
                yield at_ms, i, row, n, made

    def fill_lines(self) -> None:
        """Create ``lines_<topic>`` of every input, as :class:`jobs.hosting.cell_query.CellQuery` reads them.

        They equal the decoded lines of a broker with one partition per topic: a record's offset is its position by
        event time, its Kafka timestamp its event time. ``entry`` and ``row_number`` are its origin.
        """
        span = self.span
        beats = list(tick_times(*span, self.mapping.tick_minutes)) if span else []
        for topic in INPUTS:
            if topic.name == "ticks":
                continue
            names = ", ".join(f'"{check.field}"' for check in topic.checks)
            parts = [
                f"SELECT {i} AS entry, row_number, n, {names}, line_json FROM mapped_{i} WHERE verdict IS NULL"
                for i, entry in enumerate(self.mapping.streams)
                if entry.stream == topic.name
            ]
            if not parts:
                typed = ", ".join(f'CAST(NULL AS {SQL_TYPES[c.type]}) AS "{c.field}"' for c in topic.checks)
                parts = [
                    f"SELECT 0 AS entry, CAST(0 AS BIGINT) AS row_number, CAST(0 AS BIGINT) AS n, {typed}, "
                    "CAST(NULL AS VARCHAR) AS line_json WHERE false"
                ]
            self.duck.execute(
                f"CREATE TABLE lines_{topic.name} AS SELECT {names}, entry, row_number, "
                "CAST(NULL AS BOOLEAN) AS tick, CAST(NULL AS VARCHAR) AS line_verdict, "
                "encode(line_json) AS line_bytes, 0 AS p, "
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
