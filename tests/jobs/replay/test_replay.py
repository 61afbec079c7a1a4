"""Mapping files, and the records and ticks that a replay sends."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.reports.recorded_data import data_folder
from jobs.pricing.policy import Policy
from jobs.replay.command import MAPPINGS, find_mapping, platform_options
from jobs.replay.in_process import run_in_process
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping, MappingError
from jobs.replay.records import tick_times
from jobs.replay.sending import as_rejected
from schemas.time_units import MINUTE_MS
from tests.generated_data import (
    CARTS_FOLDER,
    ORDERS_FOLDER,
    Answer,
    write_carts,
    write_orders,
    write_weeks,
)

ONE_STREAM = """
name: mine
description: one file
sources: {{sales: {{file: sales.csv}}}}
constants:
  {{tenant: t, market: m, currency: USD, segment: all, arm: base, line: 1, discount_minor: 0, quantity: 1}}
streams:
  - stream: orders
    from: sales
    primary: true
    where: kind = 'sale'
    fields:
      event_id: "'row-' || row_number"
      event_time_ms: epoch_ms(CAST(moment AS TIMESTAMP))
      sku: sku
      price_group: sku
      kind: "'placed'"
      order_id: "'o' || row_number"
      customer: "'c'"
      session: "'s'"
      quoted_price_minor: {price}
      price_paid_minor: CAST(round(price * 100) AS BIGINT)
"""
SALES = (
    "moment,kind,sku,price\n2026-01-01 00:00:00,sale,a,1.50\n2026-01-01 00:01:00,sale,b,-2\n2026-01-01,gift,a,3\n"
)


def a_folder(tmp_path: Path, price: str = "CAST(round(price * 100) AS BIGINT)") -> tuple[Path, Path]:
    (tmp_path / "sales.csv").write_text(SALES)
    mapping = tmp_path / "mine.yaml"
    mapping.write_text(ONE_STREAM.format(price=price))
    return mapping, tmp_path


def test_every_row_becomes_a_record_or_a_refusal(tmp_path: Path) -> None:
    mapping, folder = a_folder(tmp_path)
    mapped = MappedData(Mapping.load(mapping), folder)
    records = list(mapped.records())
    assert [r.key for r in records] == ["t/m/a"]
    refused = sorted(mapped.refusals(), key=lambda refusal: refusal.row)
    assert [(r.row, r.field, r.code) for r in refused] == [
        (2, "quoted_price_minor", "OUT_OF_RANGE"),
        (3, "", "NO_PRIMARY_ENTRY"),
    ]
    assert mapped.balance()[0].balances
    assert as_rejected(refused[0]).topic == "file:sales.csv"


def test_missing_column_is_named(tmp_path: Path) -> None:
    mapping, folder = a_folder(tmp_path, price="cost * 100")
    with pytest.raises(MappingError, match=r"streams\.0 \(orders from sales\).*cost"):
        list(MappedData(Mapping.load(mapping), folder).records())


def test_source_column_may_use_window_functions(tmp_path: Path) -> None:
    mapping, folder = a_folder(tmp_path, price="CAST(round(dearest * 100) AS BIGINT)")
    columns = "{sales: {file: sales.csv, columns: {dearest: max(price) OVER (), twice: dearest * 2}}}"
    text = mapping.read_text().replace("{sales: {file: sales.csv}}", columns)
    mapping.write_text(text)
    records = list(MappedData(Mapping.load(mapping), folder).records())
    assert [orjson.loads(r.value)["quoted_price_minor"] for r in records] == [300]
    mapping.write_text(text.replace("max(price)", "max(cost)"))
    with pytest.raises(MappingError, match=r"sources\.sales\.columns.*cost"):
        MappedData(Mapping.load(mapping), folder)


def test_unknown_field_is_refused_with_the_list_of_fields(tmp_path: Path) -> None:
    mapping, _ = a_folder(tmp_path)
    mapping.write_text(mapping.read_text().replace("      sku: sku", "      skuu: sku"))
    with pytest.raises(MappingError, match="skuu not in orders; expected some of"):
        Mapping.load(mapping)


def test_mapping_cannot_read_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    mapping, folder = a_folder(tmp_path, price=f"(SELECT a FROM read_csv('{tmp_path}/secret.csv'))")
    with pytest.raises(MappingError, match="disabled"):
        list(MappedData(Mapping.load(mapping), folder).records())


@pytest.mark.parametrize("path", sorted(MAPPINGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_mapping_has_provenance(path: Path) -> None:
    assert Mapping.load(path).provenance


def with_covariates(tmp_path: Path, section: str, policy: str = "{}") -> Mapping:
    """Return the mapping of one stream with a section of covariates."""
    mapping, _ = a_folder(tmp_path)
    text = mapping.read_text() + f"    covariates: {section}\npolicy: {policy}\n"
    mapping.write_text(text)
    return Mapping.load(mapping)


def test_covariates_of_an_entry_become_records_of_its_listing(tmp_path: Path) -> None:
    mapping = with_covariates(tmp_path, "{display: CAST(price > 1 AS BIGINT), cost: price / 2}")
    with MappedData(mapping, tmp_path) as mapped:
        made = [orjson.loads(r.value) | {"key": r.key} for r in mapped.records() if r.stream == "covariates"]
        order = orjson.loads(next(r.value for r in mapped.records() if r.stream == "orders"))
        assert mapped.balance()[0].balances
    [first, second] = [c for c in made if c["sku"] == "a"]
    assert first == {
        "event_id": "row-1-display", "event_time_ms": order["event_time_ms"], "tenant": "t", "market": "m",
        "sku": "a", "price_group": "a", "name": "display", "value": 1.0, "source": "mine", "key": "t/m/a",
    }  # fmt: skip
    assert (second["name"], second["value"]) == ("cost", 0.75)


def test_covariate_beyond_its_limits_is_refused_alone(tmp_path: Path) -> None:
    mapping = with_covariates(tmp_path, "{display: '1', views: price * 800, note: kind}")
    with MappedData(mapping, tmp_path) as mapped:
        refused = {
            (r.row, r.stream, r.field, r.code, r.got) for r in mapped.refusals() if r.stream == "covariates"
        }
        assert mapped.counts["covariates"] == 2
        assert mapped.counts["orders"] == 1
    assert refused == {
        (1, "covariates", "value", "OUT_OF_RANGE", "1200.0"),
        (2, "covariates", "value", "OUT_OF_RANGE", "-1600.0"),
        (1, "covariates", "value", "MISSING_OR_WRONG_TYPE", "sale"),
        (2, "covariates", "value", "MISSING_OR_WRONG_TYPE", "sale"),
    }


def test_missing_column_of_a_covariate_is_named(tmp_path: Path) -> None:
    mapping = with_covariates(tmp_path, "{display: '1', promotion: deal}")
    with pytest.raises(MappingError, match=r"streams\.0\.covariates\.promotion \(covariates from sales\).*deal"):
        MappedData(mapping, tmp_path)


def test_invalid_name_of_a_covariate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"streams\.0\.covariates: expected names of at most 64.*'in store'"):
        with_covariates(tmp_path, "{in store: '1'}")


def test_covariates_need_an_entry_with_a_listing(tmp_path: Path) -> None:
    mapping, _ = a_folder(tmp_path)
    entry = """  - stream: commands
    from: sales
    fields: {event_id: "'c'", event_time_ms: "1", kind: "'settle'", operator: "'o'"}
    covariates: {display: '1'}
"""
    mapping.write_text(mapping.read_text() + entry)
    with pytest.raises(MappingError, match=r"streams\.1\.covariates: expected an entry of one of quotes, clicks"):
        Mapping.load(mapping)


def test_policy_may_name_only_covariates_that_the_mapping_makes(tmp_path: Path) -> None:
    policy = "{elasticity: {kind: within, covariates: [display, promotion]}}"
    mapping = with_covariates(tmp_path, "{display: '1'}", policy)
    with pytest.raises(MappingError, match=r"covariates \(display\), got promotion"):
        mapping.check_learning(mapping.policy_over(Policy()))
    policy = "{elasticity: {kind: within, covariates: [display]}}"
    mapping = with_covariates(tmp_path, "{display: '1'}", policy)
    mapping.check_learning(mapping.policy_over(Policy()))


def generated_weeks(root: Path) -> Answer:
    return write_weeks(root, stores=2, weeks=8).answer


@pytest.mark.parametrize("write", [write_carts, write_orders, generated_weeks])
def test_every_row_of_generated_data_is_accounted_for(write: Callable[[Path], Answer], tmp_path: Path) -> None:
    assert_balances(write(tmp_path))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(data_folder() / folder, rows, refused), marks=[pytest.mark.recorded(folder), *marks])
        for folder, rows, refused, marks in (
            (CARTS_FOLDER, [17_434], 19, []),
            (ORDERS_FOLDER, [9_810, 2_028], 0, [pytest.mark.platform]),  # ten seconds
        )
    ],
    ids=lambda answer: answer.folder.name,
)
def test_every_row_of_recorded_data_is_accounted_for(answer: Answer) -> None:
    assert_balances(answer)


def assert_balances(answer: Answer) -> None:
    """Check that every row is accounted for, the number of refusals, and the records' order of time."""
    mapped = MappedData(Mapping.load(find_mapping(answer.folder)), answer.folder)
    records = list(mapped.records())
    balance = mapped.balance()
    assert [b.rows for b in balance] == answer.rows
    assert all(b.balances for b in balance)
    assert sum(b.refused for b in balance) == answer.refused
    assert [r.event_time_ms for r in records] == sorted(r.event_time_ms for r in records)


def test_folder_without_a_mapping_is_refused_with_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="rees46"):
        find_mapping(tmp_path)


@given(
    st.lists(st.integers(0, 10_000_000), min_size=1, max_size=30).map(sorted),
    st.integers(1, 10),
)
def test_ticks_are_periodic_and_close_the_last_window(times: list[int], minutes: int) -> None:
    beats = list(tick_times(times[0], times[-1], minutes))
    assert beats == sorted(beats)
    assert set(range(0, times[-1] + 1, minutes * MINUTE_MS)) - set(beats) <= set(range(times[0] + 1))
    assert beats[-2] > times[-1]
    assert beats[-1] >= beats[-2] + 60 * MINUTE_MS


def test_replay_policy_is_the_default_overridden_by_the_mapping(tmp_path: Path) -> None:
    mapping, _ = a_folder(tmp_path)
    mapping.write_text(
        mapping.read_text() + "policy: {elasticity: {kind: within, period_minutes: 10080}}\nbuckets: 3\n"
    )
    options = platform_options(Mapping.load(mapping), tmp_path / "home")
    buckets, path = options.removeprefix("--set BUCKETS=").split(" --set POLICY=")
    policy = Policy.load(path)
    assert (buckets, policy.elasticity.kind, policy.elasticity.period_minutes) == ("3", "within", 10_080)
    assert policy.limits == Policy().limits


def test_wrong_policy_key_of_a_mapping_is_named(tmp_path: Path) -> None:
    mapping, _ = a_folder(tmp_path)
    mapping.write_text(mapping.read_text() + "policy: {limits: {max_stepp: .1}}\n")
    with pytest.raises(MappingError, match=r"mine\.yaml: policy: limits\.max_stepp"):
        Mapping.load(mapping)


CATALOG = """  - stream: catalog
    from: sales
    once_per: sku
    fields:
      event_id: "'c' || sku"
      event_time_ms: epoch_ms(TIMESTAMP '2025-12-31')
      sku: sku
      price_group: sku
      category: "'toys'"
      role: "'margin'"
      pack_size: "1"
      active: "true"
      list_minor: CAST(round(abs(price) * 100) AS BIGINT)
      cost_minor: CAST(round(abs(price) * 60) AS BIGINT)
"""


def test_in_process_replay_makes_decisions_from_rows(tmp_path: Path) -> None:
    path, folder = a_folder(tmp_path)
    path.write_text(path.read_text() + CATALOG + "tick_minutes: 1440\n")
    run = run_in_process(MappedData(Mapping.load(path), folder), Policy(), audit=True)
    assert run.outputs["cells"] >= 3
    assert run.outcomes == {("COLD_START", "COLD_START"): 2}
    assert run.audit is not None
    assert (run.outputs["decisions"], run.audit.recomputed, run.audit.differing) == (2, 2, [])
