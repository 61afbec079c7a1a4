"""Archives are judged by FEATURES and TOPICS."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from features.bucket_logic import Batch
from features.feature_logic import FeatureLogic
from features.registry import PUBLIC_NAMES
from jobs.audit.data_quality import check_folder, feature_rules, topic_rules
from schemas.events import CatalogEntry, Stock
from schemas.records.counts import Cell
from schemas.topics import INPUTS, TOPICS
from tests.feature_files import write_feature_rows


def some_rows(n: int = 6) -> list[dict[str, Any]]:
    entries = tuple(
        CatalogEntry("e", 1, "acme", "web", f"s{i}", f"s{i}", "shoes", "margin", "USD", 1, True, 600, 999)
        for i in range(n)
    )
    cells = tuple(
        Cell("acme", "web", f"s{i}", f"s{i}", "base", "myopic", 1000, "USD", exposures=9, orders=i)
        for i in range(n)
    )
    return [o.value for o in FeatureLogic().on_batch(Batch(0, 1_790_000_040_000, cells=cells, catalog=entries))]


def test_every_feature_and_every_contract_field_has_a_rule():
    assert feature_rules()[0].arguments["column_set"] == ["listing", "event_timestamp", *PUBLIC_NAMES]
    for topic in INPUTS:
        fields = [check.field for check in topic.checks]
        assert topic_rules(topic)[0].arguments["column_set"] == fields
        assert {rule.column for rule in topic_rules(topic)} - {""} <= set(fields)


def test_unknown_kind_and_empty_folder_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="expected one of features, quotes"):
        check_folder("nonsense", tmp_path)
    with pytest.raises(FileNotFoundError, match="at least one Parquet file"):
        check_folder("features", tmp_path)


@pytest.mark.platform
def test_rows_of_the_feature_logic_pass(tmp_path: Path):
    write_feature_rows(some_rows(), tmp_path / "day=2026-09-21" / "hour=14" / "part.parquet")
    report = check_folder("features", tmp_path)
    assert report.success, str(report)
    assert report.rows == 6 and report.rules > 60


@pytest.mark.platform
def test_failure_names_column_count_and_example(tmp_path: Path):
    rows = some_rows()
    rows[0]["abandonment_rate_24h"] = 1.5
    rows[1]["orders_24h"] = None
    rows[2]["segment_share_state"] = "maybe"
    rows[3]["listing"] = "no-slashes"
    rows[4]["margin_percent"] = float("-inf")
    rows.append(rows[5])
    write_feature_rows(rows, tmp_path / "part.parquet")
    report = check_folder("features", tmp_path)
    found = {failure.rule.column: failure for failure in report.failures}
    assert set(found) == {
        "abandonment_rate_24h", "orders_24h", "segment_share_state", "listing", "margin_percent", "",
    }  # fmt: skip
    assert found["abandonment_rate_24h"].examples == ("1.5",) and found["orders_24h"].unexpected == 1
    assert "segment_share_state" in str(report) and "maybe" in str(report)


@pytest.mark.platform
def test_missing_column_is_reported_once(tmp_path: Path):
    write_feature_rows(some_rows(), tmp_path / "part.parquet")
    frame = pd.read_parquet(tmp_path / "part.parquet").drop(columns=["orders_1h"])
    frame.to_parquet(tmp_path / "part.parquet")
    failures = check_folder("features", tmp_path).failures
    assert [(f.rule.column, f.examples) for f in failures] == [("", ("orders_1h",))]


@pytest.mark.platform
def test_archived_stream_is_judged_by_its_contract(tmp_path: Path):
    stock = [asdict(Stock(f"e{i}", 1_790_000_000_000, "acme", "web", "s", "s", i, 0, 3.0)) for i in range(5)]
    pd.DataFrame(stock).to_parquet(tmp_path / "compacted-part-1-0")
    (tmp_path / ".compacted-part-2.inprogress").write_bytes(b"not finished")
    assert check_folder("stock", tmp_path).success
    stock[0]["on_hand"], stock[1]["lead_time_days"], stock[2]["sku"] = -4, 9999.0, "x" * 500
    pd.DataFrame(stock).to_parquet(tmp_path / "a.parquet")
    report = check_folder("stock", tmp_path)
    assert {f.rule.column for f in report.failures} == {"on_hand", "lead_time_days", "sku"}
    assert TOPICS["stock"].checks


@pytest.mark.platform
def test_raw_archive_is_decoded_and_its_bad_lines_are_counted(tmp_path: Path):
    good = asdict(Stock("e", 1_790_000_000_000, "acme", "web", "s", "s", 3, 0, 3.0))
    records = [good, good | {"on_hand": "many"}, good | {"inbound": -1}, {"tick": True, "event_time_ms": 1}]
    lines = [orjson.dumps(record) for record in records] + [b"no json"]
    frame = pd.DataFrame({"topic": "pricing.stock.v1", "p": 0, "o": range(5), "line_bytes": lines})
    (tmp_path / "stream=stock").mkdir()
    frame.to_parquet(tmp_path / "stream=stock" / "part-0-0")
    report = check_folder("stock", tmp_path)
    unexpected = {(f.rule.column, f.rule.expectation): f.unexpected for f in report.failures}
    assert report.rows == 4
    assert unexpected["on_hand", "expect_column_values_to_not_be_null"] == 2
    assert unexpected["inbound", "expect_column_values_to_be_between"] == 1
    assert unexpected["sku", "expect_column_values_to_not_be_null"] == 1


@pytest.mark.platform
def test_large_archive_is_sampled(tmp_path: Path):
    write_feature_rows(some_rows(60), tmp_path / "part.parquet")
    assert check_folder("features", tmp_path, max_rows=10).rows == 10
