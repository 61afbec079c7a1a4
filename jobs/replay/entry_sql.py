"""SQL of one entry of a mapping: its rows with the contract's fields, typed and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.cells.query import DUCKDB, contract_sql
from jobs.pricing.bucket.repricing_logic import REPLAY_FACTS
from jobs.replay.mapping import STREAMS, Entry
from schemas.topics import BIGINT, BOOLEAN, DOUBLE, STRING, Check

SQL_TYPES = {STRING: "VARCHAR", BIGINT: "BIGINT", DOUBLE: "DOUBLE", BOOLEAN: "BOOLEAN"}
_WHOLE = frozenset(
    f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
)
GOT_LENGTH = 100
"""Longest value shown in a refusal, characters."""


def raw_sql(entry: Entry, constants: Mapping[str, Any]) -> str:
    """Return SQL of an entry's records: ``row_number``, ``n`` and each field unjudged, as ``raw <field>``."""
    fields = {check.field for check in STREAMS[entry.stream].checks}
    values = {name: _literal(value) for name, value in constants.items() if name in fields}
    values |= {name: f"({expression})" for name, expression in entry.fields.items()}
    once = f"QUALIFY row_number() OVER (PARTITION BY ({entry.once_per}) ORDER BY row_number) = 1"
    raw = ", ".join(f'{expression} AS "raw {name}"' for name, expression in values.items())
    return (
        f"SELECT row_number, n, {raw} FROM ("
        f'SELECT *, unnest(range(CAST(({entry.repeat}) AS BIGINT))) AS n FROM "{entry.source}" '
        f"WHERE ({entry.where}) {once if entry.once_per else ''})"
    )


def mapped_sql(entry: Entry, raw: str, types: Mapping[str, str]) -> str:
    """Return SQL of an entry's judged records.

    Columns: ``row_number``, ``n``, every field of the contract in its type, ``verdict`` (``field|CODE|expected …``
    or NULL), ``got`` (the refused value as text), ``line_json`` (the record, where lines are read again).

    Parameters
    ----------
    raw : what :func:`raw_sql` returned.
    types : DuckDB's type of each of its columns.
    """
    topic = STREAMS[entry.stream]
    given = [check.field for check in topic.checks if f"raw {check.field}" in types]
    names = ", ".join(f'"{check.field}"' for check in topic.checks)
    typed = ", ".join(
        f'{_typed(check, types.get(f"raw {check.field}"))} AS "{check.field}"' for check in topic.checks
    )
    verdict = DUCKDB.text(contract_sql(topic)).replace("AS STRING", "AS VARCHAR")
    got = " ".join(f"""WHEN '{name}' THEN CAST("raw {name}" AS VARCHAR)""" for name in given)
    members = ", ".join(f"""'{name}', "{name}\"""" for name in given)
    line = f"CAST(json_object({members}) AS VARCHAR)" if entry.stream in REPLAY_FACTS else "CAST(NULL AS VARCHAR)"
    return (
        f"SELECT row_number, n, {names}, verdict, {line} AS line_json, CASE WHEN verdict IS NOT NULL "
        f"THEN left(CASE split_part(verdict, '|', 1) {got} END, {GOT_LENGTH}) END AS got "
        f"FROM (SELECT *, {verdict} AS verdict FROM (SELECT *, {typed} FROM ({raw})))"
    )


def _literal(value: Any) -> str:
    """Return a constant as SQL, with the type that YAML gave it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"CAST('{value!r}' AS DOUBLE)"
    return "'" + str(value).replace("'", "''") + "'"


def _typed(check: Check, sql_type: str | None) -> str:
    """Return SQL of a field in the contract's type; NULL where the expression has another type."""
    raw, wanted = f'"raw {check.field}"', SQL_TYPES[check.type]
    if (
        check.type == STRING
        and sql_type is not None
        and (sql_type in ("VARCHAR", "JSON") or sql_type.startswith("ENUM"))
    ):
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
