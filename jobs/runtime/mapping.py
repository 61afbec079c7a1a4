"""Mapping files: how a foreign file becomes our streams, in words that a user can write.

A mapping is YAML. Each source is a CSV or Parquet file; each stream entry says which rows it takes
(``where``) and what each of our fields is, as a SQL expression over the file's columns (DuckDB's
SQL; ``row_number`` is the row's number in the file, from 1). ``constants`` are plain values for
fields that the data lack; a source's ``columns`` are computed once for all entries and may look at other
rows. So units are arithmetic (``CAST(round(price * 100) AS BIGINT)``), times
are functions (``epoch_ms(event_time)``), and nothing is hidden in code.

Exactly one *primary* entry may take a row of a source that has primaries; what no primary takes, or
what breaks our contract, is refused by file, row, field and code, so that a replay balances to the
row: rows = primary records + refused rows.

``policy`` names what a replay of the data decides otherwise than the default policy: weekly periods for
weekly data, offers that are valid for a month. :meth:`Mapping.policy_over` merges it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.pricing.policy import Policy, PolicyError
from schemas.codes import RejectCode
from schemas.topics import INPUTS, TOPICS, kafka_key

NO_PRIMARY = "NO_PRIMARY_ENTRY"


def _fields(stream: str) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(TOPICS[stream].record))


class MappingError(ValueError):
    """A mapping that cannot be used: names the file, the key, what was expected and what came."""


class Source(BaseModel):
    """A file: its name inside the data folder and, where guessing fails, the types of columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1)
    types: dict[str, str] = Field(default_factory=dict, description="column: DuckDB type, for CSV")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="further columns: SQL over the file's rows; window functions reach other rows",
    )


class Entry(BaseModel):
    """One of our streams, made of one source's rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    stream: str
    source: str = Field(alias="from")
    primary: bool = Field(False, description="counts the source's rows in the replay's balance")
    where: str = Field("true", description="SQL condition on the file's columns")
    once_per: str | None = Field(None, description="SQL expression: only the first row of each value is taken")
    repeat: str = Field("1", description="SQL expression: records made of a row; `n` counts them from 0")
    fields: dict[str, str]


class Mapping(BaseModel):
    """A whole mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    provenance: list[str] = Field(default_factory=list, description="what the data lack and where it comes from")
    sources: dict[str, Source]
    constants: dict[str, str | int | float | bool] = Field(default_factory=dict)
    streams: list[Entry] = Field(min_length=1)
    tick_minutes: int = Field(1, ge=1, description="event minutes between heartbeats; large for sparse histories")
    buckets: int = Field(1, ge=1, le=65_536, description="about listings / 32")
    policy: dict[str, Any] = Field(default_factory=dict, description="keys of the policy that a replay replaces")

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read and validate a mapping file.

        Raises
        ------
        MappingError
            Naming every key that is wrong.
        """
        try:
            mapping = cls.model_validate(yaml.safe_load(path.read_text()))
        except (OSError, yaml.YAMLError) as error:
            raise MappingError(f"{path}: cannot be read: {error}") from error
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise MappingError(f"{path}: {wrong}") from error
        for i, entry in enumerate(mapping.streams):
            mapping._check(path, i, entry)
        mapping.policy_over(Policy(), source=str(path))
        return mapping

    def policy_over(self, base: Policy, *, source: str = "mapping") -> Policy:
        """The policy of a replay: ``base`` with this mapping's keys over it.

        Raises
        ------
        MappingError
            Naming every wrong key, what was expected and what came.
        """
        try:
            return base.overridden(self.policy, source=f"{source}: policy")
        except PolicyError as error:
            raise MappingError(str(error)) from error

    def _check(self, path: Path, i: int, entry: Entry) -> None:
        inputs = [t.name for t in INPUTS if t.name != "ticks"]
        if entry.stream not in inputs:
            raise MappingError(
                f"{path}: streams.{i}.stream: expected one of {', '.join(inputs)}; got {entry.stream!r}"
            )
        if entry.source not in self.sources:
            known = ", ".join(self.sources)
            raise MappingError(f"{path}: streams.{i}.from: expected one of {known}; got {entry.source!r}")
        allowed = _fields(entry.stream)
        if unknown := sorted(set(entry.fields) - allowed):
            raise MappingError(
                f"{path}: streams.{i}.fields: {', '.join(unknown)} not in {entry.stream}; "
                f"expected some of {', '.join(sorted(allowed))}"
            )

    def fits(self, folder: Path) -> bool:
        """Whether a data folder holds every file of this mapping."""
        return all((folder / source.file).is_file() for source in self.sources.values())


class Made(NamedTuple):
    """A record made of a row, ready to send."""

    event_time_ms: int
    stream: str
    key: str
    value: bytes


class Refused(NamedTuple):
    """A row (or a record made of it) that was refused."""

    file: str
    row: int
    stream: str
    field: str
    code: str
    got: str


class Balance(NamedTuple):
    """A source's account: ``rows == primary + refused`` when every row found its place."""

    source: str
    rows: int
    primary: int
    refused: int
    derived: int

    @property
    def balances(self) -> bool:
        """Whether no row was lost; a source without primaries has no account to balance."""
        return self.rows == self.primary + self.refused


class MappedData:
    """A data folder seen through a mapping: records in event-time order, refusals, the balance.

    Parameters
    ----------
    mapping : the mapping.
    folder : where its files are.
    limit : take only the first so many rows of each source (0: all).
    """

    def __init__(self, mapping: Mapping, folder: Path, *, limit: int = 0) -> None:
        self.mapping = mapping
        self.refused: list[Refused] = []
        self._rows: dict[str, int] = {}
        self._primary: dict[str, int] = dict.fromkeys(mapping.sources, 0)
        self._derived: dict[str, int] = dict.fromkeys(mapping.sources, 0)
        self._refused_rows: dict[str, set[int]] = {name: set() for name in mapping.sources}
        self._db = duckdb.connect()
        self._db.execute("SET TimeZone = 'UTC'")
        for name, source in mapping.sources.items():
            self._open(name, source, folder, limit)
        self._db.execute("SET enable_external_access = false")

    def _open(self, name: str, source: Source, folder: Path, limit: int) -> None:
        path = folder / source.file
        if not path.is_file():
            raise MappingError(f"sources.{name}.file: expected {source.file} in {folder}, found none")
        reader = (
            self._db.from_parquet(str(path))
            if path.suffix == ".parquet"
            else self._db.read_csv(str(path), header=True, dtype=source.types or None, sample_size=-1)  # type: ignore[arg-type]
        )
        (reader.limit(limit) if limit else reader).create_view("file", replace=True)
        more = "".join(f', ({expression}) AS "{column}"' for column, expression in source.columns.items())
        numbered = "SELECT row_number() OVER () AS row_number, * FROM file"
        try:
            self._db.execute(f'CREATE TABLE "{name}" AS SELECT *{more} FROM ({numbered})')
        except duckdb.Error as error:
            raise MappingError(f"sources.{name}.columns: {error}") from error
        self._rows[name] = int(self._db.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0])

    def records(self) -> Iterator[Made]:
        """All records, sorted by event time, then by the order of the entries and rows.

        Raises
        ------
        MappingError
            If an expression names a column that is not there or cannot be computed.
        """
        made: list[tuple[int, int, int, int, Made]] = []
        for i, entry in enumerate(self.mapping.streams):
            for row, n, record in self._entry(i, entry):
                taken = self._judge(entry, row, record)
                if taken is not None:
                    made.append((taken.event_time_ms, i, row, n, taken))
        self._refuse_homeless()
        made.sort(key=lambda m: m[:4])
        return (m[4] for m in made)

    def _entry(self, i: int, entry: Entry) -> Iterator[tuple[int, int, dict[str, Any]]]:
        # The keys are checked against the dataclass before, so quoting them is enough.
        columns = ", ".join(f'({expression}) AS "{name}"' for name, expression in entry.fields.items())
        once = f"QUALIFY row_number() OVER (PARTITION BY ({entry.once_per}) ORDER BY row_number) = 1"
        text = (
            f"SELECT row_number, n, {columns} FROM ("
            f'SELECT *, unnest(range(CAST(({entry.repeat}) AS BIGINT))) AS n FROM "{entry.source}" '
            f"WHERE ({entry.where}) {once if entry.once_per else ''}) ORDER BY row_number, n"
        )
        try:
            cursor = self._db.execute(text)
            names = [d[0] for d in cursor.description or []][2:]
            while chunk := cursor.fetchmany(50_000):
                for values in chunk:
                    record = {k: v for k, v in self.mapping.constants.items() if k in _fields(entry.stream)}
                    record.update(zip(names, values[2:], strict=True))
                    yield values[0], values[1], record
        except duckdb.Error as error:
            raise MappingError(f"streams.{i} ({entry.stream} from {entry.source}): {error}") from error

    def _judge(self, entry: Entry, row: int, record: dict[str, Any]) -> Made | None:
        verdict = TOPICS[entry.stream].judge(record)
        if verdict is not None:
            if entry.primary:
                self._refused_rows[entry.source].add(row)
            field, code = verdict
            file = self.mapping.sources[entry.source].file
            self.refused.append(Refused(file, row, entry.stream, field, code, repr(record.get(field))[:100]))
            return None
        if entry.primary:
            self._primary[entry.source] += 1
        else:
            self._derived[entry.source] += 1
        return Made(record["event_time_ms"], entry.stream, kafka_key(entry.stream, record), orjson.dumps(record))

    def _refuse_homeless(self) -> None:
        for name, source in self.mapping.sources.items():
            wheres = [f"({e.where})" for e in self.mapping.streams if e.primary and e.source == name]
            if not wheres:
                continue
            text = f'SELECT row_number FROM "{name}" WHERE NOT coalesce({" OR ".join(wheres)}, false)'
            for (row,) in self._db.execute(text).fetchall():
                self._refused_rows[name].add(row)
                self.refused.append(Refused(source.file, row, "", "", NO_PRIMARY, "no entry takes this row"))

    def balance(self) -> list[Balance]:
        """The account of every source that has a primary entry; call after :meth:`records`."""
        with_primary = {e.source for e in self.mapping.streams if e.primary}
        return [
            Balance(
                name, self._rows[name], self._primary[name], len(self._refused_rows[name]), self._derived[name]
            )
            for name in self.mapping.sources
            if name in with_primary
        ]


REFUSAL_CODES = (*(code.value for code in RejectCode), NO_PRIMARY)
"""Every code a refusal can carry."""
