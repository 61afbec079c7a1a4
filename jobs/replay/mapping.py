"""Mapping files: which records a foreign file becomes, as YAML and SQL expressions.

:mod:`jobs.replay.mapped_data` applies a mapping to a folder. Each source is a CSV or Parquet file. Each stream
entry has the rows that it applies to (``where``) and an SQL expression per field over the file's columns (DuckDB's
SQL; ``row_number`` is the row's number in the file, from 1). ``constants`` are plain values for fields that the
data lack; a source's ``columns`` are computed once for all its entries and may use window functions. Units are
arithmetic (``CAST(round(price * 100) AS BIGINT)``) and times are functions (``epoch_ms(event_time)``), so that no
conversion is hidden in code.

Exactly one *primary* entry may apply to a row of a source that has primary entries. A row to which none applies,
that ``once_per`` of a primary entry drops, or that breaks the contract is reported by file, row, field and code,
so that every row is accounted for: rows = primary records + refused rows + rows dropped by ``once_per``. Types and
limits of all fields are listed in ``jobs/replay/mappings/LIMITS.md``. ``infra/docs/mappings.md`` describes the key
by which a repeated order line is refused, cancellations and returns, and when sales need ``kind: within``.

``covariates`` of an entry maps further columns of its rows to covariates of the row's listing, for example
``covariates: {display: disp, promotion: CAST(deal AS BIGINT)}``. Each name becomes a record of stream
``covariates`` with the time of the row's own record, so that the value applies from that minute on. An expression
must give a whole number or a DOUBLE. A value that is NULL or beyond the limits is refused, and the row's other
records are kept. The policy lists the names that enter learning (``elasticity.covariates``).

``policy`` overrides keys of the default policy for a replay of the data: weekly periods for weekly data, offers
that are valid for a month. :meth:`Mapping.policy_over` merges it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.pricing.policy import Policy, PolicyError
from schemas.topics import INPUTS, MAX_NAME_LENGTH, NAME, Topic

STREAMS: dict[str, Topic] = {topic.name: topic for topic in INPUTS if topic.name != "ticks"}
"""Streams that a mapping can make; the replay itself sends ticks."""
COVARIATES = "covariates"
_LISTING_FIELDS = ("event_id", "event_time_ms", "tenant", "market", "sku", "price_group")
_FIELDS = {name: frozenset(check.field for check in topic.checks) for name, topic in STREAMS.items()}


class MappingError(ValueError):
    """An unusable mapping; the message has the file, the key, what was expected and what was given."""


def _text(value: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


class Source(BaseModel):
    """A file: its name in the data folder and, where detection fails, the types of columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1)
    types: dict[str, str] = Field(default_factory=dict, description="column: DuckDB type, for CSV")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="further columns: SQL over the file's rows, with window functions",
    )


class Entry(BaseModel):
    """One stream, made from the rows of one source."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    stream: str
    source: str = Field(alias="from")
    primary: bool = Field(False, description="counts the source's rows in the replay's balance")
    where: str = Field("true", description="SQL condition on the file's columns")
    once_per: str | None = Field(None, description="SQL expression: only the first row of each value is used")
    repeat: str = Field("1", description="SQL expression: records made of a row; `n` counts them from 0")
    fields: dict[str, str]
    covariates: dict[str, str] = Field(
        default_factory=dict, description="covariate: SQL expression of its value for the row's listing"
    )

    def covariate_entries(self, source: str) -> list[Entry]:
        """Return an entry of stream covariates for each covariate, on the same rows and with the same times.

        Parameters
        ----------
        source : value of the records' field ``source``.
        """
        shared = {name: sql for name, sql in self.fields.items() if name in _LISTING_FIELDS}
        event_id = self.fields.get("event_id")
        entries = []
        for name, value in self.covariates.items():
            fields = shared | {"name": _text(name), "value": value, "source": _text(source)}
            if event_id is not None:
                fields["event_id"] = f"({event_id}) || {_text(f'-{name}')}"
            changes = {"stream": COVARIATES, "primary": False, "fields": fields, "covariates": {}}
            entries.append(self.model_copy(update=changes))
        return entries


class Mapping(BaseModel):
    """A mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    provenance: list[str] = Field(
        default_factory=list, description="which fields the data lack, and how they are filled"
    )
    sources: dict[str, Source]
    constants: dict[str, str | int | float | bool] = Field(default_factory=dict)
    streams: list[Entry] = Field(min_length=1)
    tick_minutes: int = Field(1, ge=1, description="event minutes between ticks; large for sparse histories")
    buckets: int = Field(1, ge=1, le=65_536, description="about listings / 32")
    policy: dict[str, Any] = Field(default_factory=dict, description="keys of the policy that a replay overrides")

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read and validate a mapping file.

        The entries of stream covariates that the entries' sections ``covariates`` describe follow the file's own
        entries in ``streams``.

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
            mapping._check(f"{path}: streams.{i}", entry)
        mapping._check_constants(path)
        mapping.policy_over(Policy(), source=str(path))
        more = [made for entry in mapping.streams for made in entry.covariate_entries(mapping.name)]
        return mapping.model_copy(update={"streams": [*mapping.streams, *more]})

    def place(self, i: int) -> str:
        """Return the key of ``streams[i]`` in the file, for messages."""
        made = [f"streams.{at}.covariates.{name}" for at, e in enumerate(self.streams) for name in e.covariates]
        return f"streams.{i}" if i < self._declared else made[i - self._declared]

    @property
    def _declared(self) -> int:
        """Return the number of entries in the file; those of its sections ``covariates`` follow."""
        return len(self.streams) - sum(len(entry.covariates) for entry in self.streams)

    def policy_over(self, base: Policy, *, source: str = "mapping") -> Policy:
        """Return the policy of a replay: ``base`` overridden by this mapping's keys.

        Raises
        ------
        MappingError
            Naming every wrong key, what was expected and what was given.
        """
        try:
            return base.overridden(self.policy, source=f"{source}: policy")
        except PolicyError as error:
            raise MappingError(str(error)) from error

    def check_learning(self, policy: Policy) -> None:
        """Refuse a mapping that lacks what the policy learns from: exposures, or a named covariate.

        Such a run learns nothing, or estimates of another model, and its prices would be taken for learned ones:
        an error, not a warning.

        Raises
        ------
        MappingError
            Naming the policy's key and the remedies.
        """
        listed = {name for entry in self.streams for name in entry.covariates}
        direct = any(entry.stream == COVARIATES for entry in self.streams[: self._declared])
        missing = [name for name in policy.elasticity.covariates if name not in listed]
        if missing and not direct:
            raise MappingError(
                f"policy.elasticity.covariates: expected some of the mapping's covariates "
                f"({', '.join(sorted(listed)) or 'it has none'}), got {', '.join(missing)}. Add each to a section "
                "`covariates` of an entry, or set `policy: {elasticity: {covariates: []}}`"
            )
        made = {entry.stream for entry in self.streams}
        if policy.elasticity.kind == "poisson" and "orders" in made and "quotes" not in made:
            raise MappingError(
                "policy.elasticity.kind: expected within, or a stream of quotes; got poisson and no stream of "
                "quotes. poisson learns orders per exposure, and exposures are counted from quotes alone. Set "
                "`policy: {elasticity: {kind: within}}` for sales without exposures, or map what shoppers "
                "were shown to quotes"
            )

    def _check(self, where: str, entry: Entry) -> None:
        if entry.stream not in STREAMS:
            raise MappingError(f"{where}.stream: expected one of {', '.join(STREAMS)}; got {entry.stream!r}")
        if entry.source not in self.sources:
            known = ", ".join(self.sources)
            raise MappingError(f"{where}.from: expected one of {known}; got {entry.source!r}")
        if entry.covariates and (entry.stream == COVARIATES or "price_group" not in _FIELDS[entry.stream]):
            listing = ", ".join(n for n, fields in _FIELDS.items() if "price_group" in fields and n != COVARIATES)
            raise MappingError(
                f"{where}.covariates: expected an entry of one of {listing}, whose records name a listing; "
                f"got an entry of {entry.stream}"
            )
        for name in entry.covariates:
            if not NAME.allows(name) or len(name) > MAX_NAME_LENGTH:
                raise MappingError(
                    f"{where}.covariates: expected names of at most {MAX_NAME_LENGTH} characters: {NAME.words}; "
                    f"got {name!r}"
                )
        allowed = _FIELDS[entry.stream]
        if unknown := sorted(set(entry.fields) - allowed):
            raise MappingError(
                f"{where}.fields: {', '.join(unknown)} not in {entry.stream}; "
                f"expected some of {', '.join(sorted(allowed))}"
            )
        given = entry.fields.keys() | self.constants.keys()
        required = [check.field for check in STREAMS[entry.stream].checks if check.required]
        if missing := [field for field in required if field not in given]:
            raise MappingError(
                f"{where}.fields: {entry.stream} needs {', '.join(missing)}; give each as an SQL expression "
                "in fields or as a value in constants"
            )

    def _check_constants(self, path: Path) -> None:
        usable = sorted(frozenset().union(*_FIELDS.values()))
        for name in self.constants:
            if name not in usable:
                alike = difflib.get_close_matches(name, usable, n=1)
                raise MappingError(
                    f"{path}: constants.{name}: expected the name of a field of a stream; "
                    + (f"did you mean {alike[0]}?" if alike else f"the fields are {', '.join(usable)}")
                )

    def fits(self, folder: Path) -> bool:
        """Return whether a data folder has every file of this mapping."""
        return all((folder / source.file).is_file() for source in self.sources.values())
