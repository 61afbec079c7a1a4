"""Data checks in batch: whether a Parquet folder satisfies FEATURES or a contract of TOPICS.

The stream judges every record as it passes. These checks judge stored data: once a day, before a backfill is used,
or after a foreign archive was loaded. Great Expectations runs the suite, which is generated from the same lists
that the stream uses. It takes some seconds to import and tens of milliseconds per column, so it never runs per
event.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

from features.registry import EVENT_TIMESTAMP, FEATURES, KEY
from schemas.codes import RejectCode
from schemas.topics import BOOLEAN, STRING, TOPICS, Topic

FEATURES_KIND = "features"
MAX_ROWS = 1_000_000
_LINE = "line_bytes"
_FILE = re.compile(r"[^._].*\.parquet|(part|compacted)-[^.]*")
"""Finished files: Flink's SQL sink gives them no extension; unfinished ones start with a dot."""
_FINITE = 1e15
"""Larger than any amount, count or rate: detects infinities in features without a range."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation, by Great Expectations' name, on a column (empty: on the table)."""

    expectation: str
    column: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A violated rule: the number of values, and some of them."""

    rule: Rule
    unexpected: int
    examples: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        wanted = ", ".join(f"{k}={v!r}" for k, v in self.rule.arguments.items() if k != "column_set")
        shown = f"; for example {', '.join(self.examples)}" if self.examples else ""
        reason = self.message or f"{self.unexpected} values differ{shown}"
        return f"{self.rule.column or 'table'}: {self.rule.expectation}({wanted}): {reason}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was checked and what failed."""

    kind: str
    folder: Path
    rows: int
    rules: int
    failures: tuple[Failure, ...]

    @property
    def success(self) -> bool:
        """Whether every rule holds."""
        return not self.failures

    def __str__(self) -> str:
        head = f"{self.kind} in {self.folder}: {self.rows} rows, {self.rules} rules, {len(self.failures)} failed"
        return "\n".join([head, *(f"  {failure}" for failure in self.failures)])


def feature_rules() -> list[Rule]:
    """Return the rules of a feature folder, from FEATURES: columns, keys, missing values, ranges, states.

    >>> {rule.column for rule in feature_rules()} >= {"listing", "margin_percent"}
    True
    """
    rules = [
        _columns(KEY, EVENT_TIMESTAMP, *(spec.public for spec in FEATURES)),
        Rule("expect_column_values_to_not_be_null", KEY),
        Rule("expect_column_values_to_not_be_null", EVENT_TIMESTAMP),
        Rule("expect_column_values_to_match_regex", KEY, {"regex": r"^[^/]+/[^/]+/.+$"}),
        Rule("expect_compound_columns_to_be_unique", "", {"column_list": [KEY, EVENT_TIMESTAMP]}),
    ]
    for spec in FEATURES:
        if not spec.nullable:
            rules.append(Rule("expect_column_values_to_not_be_null", spec.public))
        if spec.values is not None:
            rules.append(Rule("expect_column_values_to_be_in_set", spec.public, {"value_set": list(spec.values)}))
        if spec.dtype != "string":
            low = -_FINITE if spec.low is None else spec.low
            high = _FINITE if spec.high is None else spec.high
            rules.append(_between(spec.public, low, high))
    return rules


def topic_rules(topic: Topic) -> list[Rule]:
    """Return the rules of an archived stream, from its contract in TOPICS.

    >>> [rule.column for rule in topic_rules(TOPICS["stock"])][:2]
    ['', 'event_id']
    """
    rules = [_columns(*(check.field for check in topic.checks))]
    for check in topic.checks:
        if check.required:
            rules.append(Rule("expect_column_values_to_not_be_null", check.field))
        if check.type == STRING:
            if check.values is not None:
                rules.append(
                    Rule("expect_column_values_to_be_in_set", check.field, {"value_set": [*check.values]})
                )
            elif check.max_len is not None:
                limits = {"min_value": check.min_len, "max_value": check.max_len}
                rules.append(Rule("expect_column_value_lengths_to_be_between", check.field, limits))
        elif check.type != BOOLEAN and (check.low is not None or check.high is not None):
            rules.append(_between(check.field, check.low, check.high))
    return rules


def _columns(*names: str) -> Rule:
    return Rule("expect_table_columns_to_match_set", "", {"column_set": list(names), "exact_match": False})


def _between(column: str, low: float | None, high: float | None) -> Rule:
    return Rule("expect_column_values_to_be_between", column, {"min_value": low, "max_value": high})


def check_folder(kind: str, folder: Path, *, max_rows: int = MAX_ROWS) -> CheckReport:
    """Judge a folder of Parquet files (hive partitions or not) as ``features`` or as an input stream.

    The lines of the raw archive are decoded first, including refused ones: the report describes what sources sent,
    while the ``rejected`` topic has what was refused.

    Parameters
    ----------
    kind : ``features``, or the short name of an input topic (``quotes``, ``orders`` …).
    folder : searched with its sub-folders.
    max_rows : above it, a repeatable random sample of that many rows is judged.

    Raises
    ------
    ValueError
        If ``kind`` is neither.
    FileNotFoundError
        If the folder holds no Parquet file.
    """
    if kind == FEATURES_KIND:
        rules = feature_rules()
    elif kind in TOPICS and TOPICS[kind].checks:
        rules = topic_rules(TOPICS[kind])
    else:
        known = ", ".join([FEATURES_KIND, *(name for name, topic in TOPICS.items() if topic.checks)])
        raise ValueError(f"kind: expected one of {known}; got {kind!r}")
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file() and _FILE.fullmatch(path.name))
    if not files:
        raise FileNotFoundError(
            f"{folder}: expected at least one Parquet file (*.parquet, or part-* and compacted-* of the archive)"
        )
    frame = _read(files, max_rows, TOPICS.get(kind))
    return CheckReport(kind, folder, len(frame), len(rules), tuple(_failures(frame, rules)))


def _read(files: list[str], max_rows: int, topic: Topic | None) -> Any:
    import duckdb

    with duckdb.connect() as connection:
        source = "read_parquet(?, union_by_name = true, hive_partitioning = false)"
        columns = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}", [files]).fetchall()]
        raw = topic is not None and _LINE in columns
        # Of the raw archive, one input's lines; any other folder is read as it is.
        where = f" WHERE topic = '{topic.topic}'" if topic is not None and raw else ""
        wanted = f"FROM (SELECT {_LINE if raw else '*'} FROM {source}{where})"
        ((rows,),) = connection.execute(f"SELECT count(*) {wanted}", [files]).fetchall()
        sample = f" USING SAMPLE reservoir({max_rows} ROWS) REPEATABLE (1)" if rows > max_rows else ""
        result = connection.execute(f"SELECT * {wanted}{sample}", [files])
        if topic is not None and raw:
            return _decoded([line for (line,) in result.fetchall()], topic)
        return result.df()


def _decoded(lines: list[bytes | None], topic: Topic) -> Any:
    """Return raw lines as columns of their contract, without ticks.

    A value of another type becomes a missing value.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            record = orjson.loads(line or b"")
        except orjson.JSONDecodeError:
            record = None
        if not isinstance(record, dict):
            rows.append({})
        elif not record.get("tick"):
            rows.append({
                check.field: record[check.field]
                for check in topic.checks
                if check.field in record and check.validate(record) != RejectCode.MISSING_OR_WRONG_TYPE
            })  # fmt: skip
    return pd.DataFrame(rows, columns=[check.field for check in topic.checks])


def _failures(frame: Any, rules: list[Rule]) -> Iterable[Failure]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batches = (
        context.data_sources.add_pandas("archive")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
    )
    there = set(frame.columns)
    expectations = [
        _expectation(rule)
        for rule in rules
        # A missing column is reported once, by the rule on the table's columns.
        if not rule.column or rule.column in there
    ]
    suite = context.suites.add(gx.ExpectationSuite(name="promised", expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="archive", data=batches, suite=suite)
    )
    checkpoint = context.checkpoints.add(gx.Checkpoint(name="archive", validation_definitions=[definition]))
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    for run in outcome.run_results.values():
        for result in run.results:
            if result.success:
                continue
            config, seen = cast(Any, result.expectation_config), result.result or {}
            column = config.kwargs.get("column", "")
            rule = next(r for r in rules if (r.expectation, r.column) == (config.type, column))
            missing = ((seen.get("details") or {}).get("mismatched") or {}).get("missing") or []
            yield Failure(
                rule,
                int(seen.get("unexpected_count") or len(missing)),
                tuple(str(x) for x in (seen.get("partial_unexpected_list") or missing)[:3]),
                _why(result.exception_info),
            )


def _expectation(rule: Rule) -> Any:
    from great_expectations.expectations.registry import get_expectation_impl

    made: Any = get_expectation_impl(rule.expectation)
    return made(**({"column": rule.column} if rule.column else {}), **rule.arguments)


def _why(exception_info: Any) -> str:
    """Return in one line why an expectation could not be computed (a column of another type)."""
    infos = [exception_info] if "exception_message" in (exception_info or {}) else (exception_info or {}).values()
    for info in infos:
        if info and info.get("exception_message"):
            return f"could not be judged: {str(info['exception_message'])[:200]}"
    return ""
