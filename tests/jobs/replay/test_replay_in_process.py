"""A replay in one process: its results, its refusals, and its errors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from features.bucket_logic import Output
from jobs.hosting.cell_query import CellQuery, Line
from jobs.hosting.chain import Call, Chain
from jobs.hosting.chain_workers import ChainWorkers, WorkerError
from jobs.pricing.bucket.repricing_logic import REPLAY_FACTS
from jobs.pricing.policy import Policy
from jobs.replay.command import app
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping, MappingError
from jobs.replay.sending import TickTime, with_ticks
from schemas.topics import TOPICS

DAY_S = 86_400
AT = "1767225600000 + 1000 * CAST(at_s AS BIGINT)"
LISTING = {"sku": "sku", "price_group": "sku"}
SOLD = {"customer": "'c' || row_number", "session": "'s' || row_number"}
PRICE = "CAST(round(price * 100) AS BIGINT)"
CONSTANTS = {
    "tenant": "t", "market": "m", "currency": "USD", "segment": "all", "arm": "base", "discount_minor": 0,
    "line": 0, "role": "margin", "active": True, "pack_size": 1, "category": "toys",
}  # fmt: skip
CATALOG = {
    "stream": "catalog", "from": "sales", "once_per": "sku",
    "fields": {"event_id": "'k' || row_number", "event_time_ms": "1767139200000", **LISTING, "list_minor": PRICE,
               "cost_minor": "CAST(round(price * 60) AS BIGINT)"},
}  # fmt: skip
ORDERS = {
    "stream": "orders", "from": "sales", "primary": True,
    "fields": {"event_id": "'o' || row_number", "event_time_ms": AT, **LISTING, **SOLD, "kind": "'placed'",
               "order_id": "order_id", "quantity": "quantity", "quoted_price_minor": PRICE,
               "price_paid_minor": PRICE},
}  # fmt: skip
Row = tuple[int, str, str, int, float]


def weeks(count: int = 4) -> list[Row]:
    """Return rows of two listings sold once a day at two prices: seconds, order, SKU, quantity, price."""
    return [
        (day * DAY_S + 600 * i, f"o{day}-{sku}", sku, 3 + (day // 7 + i) % 2, 10.0 + (day // 7 % 2))
        for day in range(7 * count)
        for i, sku in enumerate(("a", "b"))
    ]


def a_mapping(**changes: Any) -> dict[str, Any]:
    return {
        "name": "mine",
        "description": "one file",
        "sources": {"sales": {"file": "sales.csv", "types": {"price": "DOUBLE"}}},
        "constants": CONSTANTS,
        "tick_minutes": 1440,
        "buckets": 3,
        "policy": {"elasticity": {"kind": "within", "period_minutes": 1440}},
        "streams": [CATALOG, ORDERS],
    } | changes


def written(folder: Path, mapping: dict[str, Any], rows: list[Row]) -> Path:
    lines = ["at_s,order_id,sku,quantity,price", *(",".join(map(str, row)) for row in rows)]
    (folder / "sales.csv").write_text("\n".join(lines) + "\n")
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return path


def mapped(folder: Path, rows: list[Row], **changes: Any) -> MappedData:
    return MappedData(Mapping.load(written(folder, a_mapping(**changes), rows)), folder)


def replay(folder: Path, rows: list[Row], *options: str, workers: int = 1, **changes: Any) -> tuple[int, str]:
    path = written(folder, a_mapping(**changes), rows)
    arguments = ["--data", str(folder), "--mapping", str(path), "--alone", *options]
    result = CliRunner().invoke(
        app, arguments, env={"WALRAS_HOME": str(folder / "home"), "WALRAS_REPLAY_WORKERS": str(workers)}
    )
    return result.exit_code, " ".join(result.output.split())


def without(entry: dict[str, Any], field: str) -> dict[str, Any]:
    return entry | {"fields": {name: sql for name, sql in entry["fields"].items() if name != field}}


def test_successful_run_exits_with_0(tmp_path: Path) -> None:
    code, output = replay(tmp_path, weeks(2), "--audit")
    assert code == 0, output
    assert "COLD_START COLD_START: 2" in output
    assert "decisions recomputed, 0 differ" in output


def test_outputs_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for workers in (1, 2):
        code, output = replay(tmp_path, weeks(2), "--out", str(tmp_path / f"out{workers}"), workers=workers)
        assert code == 0, output
    files = sorted((tmp_path / "out1").glob("*.parquet"))
    assert all(pq.read_table(file).equals(pq.read_table(tmp_path / "out2" / file.name)) for file in files)


def test_failed_call_in_a_worker_names_its_bucket() -> None:
    with ChainWorkers(Policy(), 2) as workers, pytest.raises(WorkerError, match="features, bucket 1, batch"):
        list(workers.run([Call("features", "1", "batch", "", b"bad")]))


def test_decisions_are_recomputed_only_with_audit(tmp_path: Path) -> None:
    assert "recomputed" not in replay(tmp_path, weeks(1))[1]


def lines_of(data: MappedData) -> dict[str, list[Line]]:
    """Return records and ticks as a broker with one partition per topic would store them."""
    lines: dict[str, list[Line]] = {}
    for item in with_ticks(data):
        if isinstance(item, TickTime):
            ticks = ({"event_time_ms": item.event_time_ms, "bucket": b, "tick": True} for b in range(3))
            values = [("ticks", orjson.dumps(tick)) for tick in ticks]
        else:
            values = [(item.stream, item.value)]
        for name, value in values:
            of_topic = lines.setdefault(TOPICS[name].topic, [])
            of_topic.append((0, len(of_topic), item.event_time_ms, value))
    return lines


def as_bytes(outputs: list[Output]) -> list[bytes]:
    return [orjson.dumps(list(o), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS) for o in outputs]


def test_mapped_tables_give_the_same_outputs_as_a_platforms_lines(tmp_path: Path) -> None:
    more = {
        "offers": {"competitor": "'rival'", "shipping_minor": "0", "in_stock": "true", "source": "'list'",
                   "match_confidence": "1e0", "price_minor": PRICE, **LISTING},
        "covariates": {"name": "'display'", "value": "quantity % 2", "source": "'shelf'", **LISTING},
        "stock": {"on_hand": "quantity", "inbound": "0", "lead_time_days": "1", **LISTING},
        "calendar": {"kind": "'campaign'", "name": "'sale'", "zone": "''", "categories": "'toys'",
                     "start_ms": AT, "end_ms": f"{AT} + 3600000", "expected_factor": "1.5e0"},
        "commands": {"kind": "CASE WHEN row_number > 20 THEN 'settle' ELSE 'resume' END", "operator": "'ann'"},
        "quotes": {"price_minor": PRICE, "propensity": "1e0", "table_id": "'t'", "version": "0",
                   "source": "'list'", **LISTING, **SOLD},
    }  # fmt: skip
    streams = [
        {"stream": name, "from": "sales", "where": "row_number % 9 = 0",
         "fields": {"event_id": f"'{name}' || row_number", "event_time_ms": AT, **fields}}
        for name, fields in more.items()
    ]  # fmt: skip
    learning = {"elasticity": {"kind": "within", "period_minutes": 1440, "covariates": ["display"]}}
    data = mapped(tmp_path, weeks(3), streams=[CATALOG, ORDERS, *streams], policy=learning)
    assert set(data.counts) == {"catalog", "orders", *more}
    policy = data.mapping.policy_over(Policy())
    by_lines = list(Chain(policy, 3, facts=REPLAY_FACTS).run(lines_of(data)))
    data.fill_lines()
    by_tables = list(Chain(policy, 3, facts=REPLAY_FACTS).run_query(CellQuery.of_tables(data.duck)))
    assert {"SETTLE", "COLD_START", "EVENT_STARTED"} <= {
        o.value["cause"] for o in by_lines if o.stream == "decisions"
    }
    assert as_bytes(by_tables) == as_bytes(by_lines)


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("quantity", None), ("CAST(quantity AS HUGEINT)", None), ("'3'", "MISSING_OR_WRONG_TYPE"),
        ("CAST(3 AS DOUBLE)", "MISSING_OR_WRONG_TYPE"), ("CAST(3 AS DECIMAL(9,2))", "MISSING_OR_WRONG_TYPE"),
        ("NULL", "MISSING_OR_WRONG_TYPE"), ("true", "MISSING_OR_WRONG_TYPE"), ("-quantity", "OUT_OF_RANGE"),
        ("CAST(9223372036854775808 AS HUGEINT)", "MISSING_OR_WRONG_TYPE"),
    ],
)  # fmt: skip
def test_field_of_another_sql_type_is_missing(tmp_path: Path, quantity: str, code: str | None) -> None:
    orders = ORDERS | {"fields": ORDERS["fields"] | {"quantity": quantity}}
    data = mapped(tmp_path, weeks(1)[:1], streams=[CATALOG, orders])
    assert data.refusal_counts() == ({("orders", "quantity", code): 1} if code else {})


def test_refusal_shows_limit_row_and_value(tmp_path: Path) -> None:
    rows = [*weeks(1), (9, "big", "a", 10_000_001, 5.0)]
    _, output = replay(tmp_path, rows)
    limit = "orders.quantity: expected a whole number from 1 to 10000000; got 10000001 (OUT_OF_RANGE)"
    assert f"row {len(rows)} of sales.csv: {limit}" in output


def test_rows_dropped_by_once_per_are_refused_and_accounted_for(tmp_path: Path) -> None:
    data = mapped(tmp_path, weeks(1), streams=[CATALOG, ORDERS | {"once_per": "order_id[2:3]"}])
    account = data.balance()[0]
    assert (account.rows, account.primary, account.dropped, account.balances) == (14, 7, 7, True)
    assert [(r.row, r.code, r.got) for r in data.refusals(1)] == [(2, "DROPPED_BY_ONCE_PER", "0-")]


def test_rows_repeated_zero_times_are_refused_and_accounted_for(tmp_path: Path) -> None:
    data = mapped(tmp_path, weeks(1), streams=[CATALOG, ORDERS | {"repeat": "row_number % 2"}])
    assert data.refusal_counts() == {("orders", "repeat", "REPEATED_ZERO_TIMES"): 7}
    assert data.balance()[0].balances


def test_repeated_order_line_is_reported_with_the_first_ones_row(tmp_path: Path) -> None:
    rows = weeks(1)
    again = (rows[3][0] + 60, *rows[3][1:])
    code, output = replay(tmp_path, [*rows, again], "--out", str(tmp_path / "out"))
    assert code == 0, output
    assert "refused: 1 x orders order_id DUPLICATE_ORDER row 15 of sales.csv" in output
    assert "once in 7 days (first: row 4 of sales.csv); got order_id o1-b, line 0, placed again" in output
    (refused,) = pq.read_table(tmp_path / "out" / "refused.parquet").to_pylist()
    assert (refused["row"], refused["code"]) == (15, "DUPLICATE_ORDER")


def test_all_refusals_are_written_to_a_file(tmp_path: Path) -> None:
    bad = [(i, f"bad{i}", "a", 0, 5.0) for i in range(8)]
    _, output = replay(tmp_path, [*weeks(1), *bad], "--out", str(tmp_path / "out"))
    assert "and 3 more; all in" in output
    assert pq.read_metadata(tmp_path / "out" / "refused.parquet").num_rows == 8


def test_outputs_are_written_as_a_parquet_file_per_stream(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, output = replay(tmp_path, weeks(2), "--out", str(out))
    assert code == 0, output
    rows = {path.stem: pq.read_table(path).to_pylist() for path in sorted(out.glob("*.parquet"))}
    outputs = orjson.loads(output[output.index('{"outputs"') : output.index("}}") + 2])["outputs"]
    assert {name: len(rows[name]) for name in ("decisions", "tables", "estimates")} == {
        name: outputs[name] for name in ("decisions", "tables", "estimates")
    }
    assert sum(row["orders"] for row in rows["cells"]) == len(weeks(2))
    assert Counter(row["cause"] for row in rows["decisions"])["COLD_START"] == 2
    assert orjson.loads(rows["decisions"][0]["inputs"])["policy_hash"] in {row["hash"] for row in rows["policies"]}
    assert all(row["units_24h"] is not None for row in rows["features"])


def test_folder_with_outputs_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cells.parquet").write_bytes(b"")
    code, output = replay(tmp_path, weeks(1), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "expected an empty or new folder, found cells.parquet" in output


LATE = CATALOG | {"fields": CATALOG["fields"] | {"event_time_ms": "1893456000000"}}
ELSEWHERE = CATALOG | {"fields": CATALOG["fields"] | {"market": "'other'"}}
EURO = CATALOG | {"fields": CATALOG["fields"] | {"currency": "'EUR'"}}
BARE = without(without(CATALOG, "list_minor"), "cost_minor")
YEARLY = {"elasticity": {"kind": "within", "period_minutes": 525_600}}


@pytest.mark.parametrize(
    ("changes", "rows", "reason"),
    [
        ({}, [(0, "o", "a", 0, 5.0)] * 3, "Every row was refused, 3 of 3 times like this: row 1 of sales.csv"),
        ({"streams": [CATALOG, ORDERS | {"where": "false"}]}, weeks(1), "Every row was refused"),
        ({"streams": [ORDERS]}, weeks(1), "No catalog entry was made"),
        ({"streams": [LATE, ORDERS]}, weeks(1), "give the catalog an earlier event_time_ms"),
        ({"streams": [ELSEWHERE, ORDERS]}, weeks(1), "the same names as the orders"),
        ({"streams": [EURO, ORDERS]}, weeks(1), "Nothing was counted: of 16 records none"),
        ({"policy": YEARLY}, weeks(1), "Nothing was learned"),
        ({"streams": [BARE, ORDERS]}, weeks(1), "Nothing was priced"),
    ],
    ids=["refused", "nothing taken", "no catalog", "late", "elsewhere", "currency", "unlearned", "unpriced"],
)  # fmt: skip
def test_run_without_a_result_fails_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], rows: list[Row], reason: str
) -> None:
    code, output = replay(tmp_path, rows, **changes)
    assert (code, reason in output) == (1, True), output


def test_unknown_constant_is_an_error_that_suggests_a_name(tmp_path: Path) -> None:
    constants = {k: v for k, v in CONSTANTS.items() if k != "pack_size"} | {"pack_sise": 1}
    catalog = CATALOG | {"fields": CATALOG["fields"] | {"pack_size": "1"}}
    code, output = replay(tmp_path, weeks(1), constants=constants, streams=[catalog, ORDERS])
    assert code == 2
    assert "constants.pack_sise" in output
    assert "did you mean pack_size?" in output


def test_missing_required_field_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"streams\.1\.fields: orders needs quantity"):
        mapped(tmp_path, weeks(1), streams=[CATALOG, without(ORDERS, "quantity")])


def test_learning_from_exposures_without_quotes_is_an_error(tmp_path: Path) -> None:
    code, output = replay(tmp_path, weeks(1), policy={})
    assert code == 2
    assert "expected within, or a stream of quotes; got poisson" in output


def test_limits_option_prints_the_page() -> None:
    result = CliRunner().invoke(app, ["--limits"])
    assert result.exit_code == 0
    assert "| `quantity` | BIGINT | yes | a whole number from 1 to 10000000 |" in result.output
