"""Proposed mappings: roles of columns, periods, returns, and files for which there is no proposal."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from jobs.learning.proposals.proposal import ProposalError, propose
from jobs.pricing.policy import Policy
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping


def write(folder: Path, **columns: list[object]) -> Path:
    path = folder / "rows.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def check(path: Path) -> tuple[str, Mapping, dict[tuple[str, str, str], int]]:
    """Return the proposal, its mapping, and what it refuses of its file."""
    text = propose(path)
    target = path.with_name("mapping.yaml")
    target.write_text(text)
    mapping = Mapping.load(target)
    mapping.check_learning(mapping.policy_over(Policy()))
    with MappedData(mapping, path.parent) as mapped:
        assert all(account.balances for account in mapped.balance())
        assert mapped.counts["orders"] and mapped.counts["catalog"]
        return text, mapping, mapped.refusal_counts()


def test_weekly_rows_have_a_period_of_a_week_from_their_weekday(tmp_path: Path) -> None:
    weeks = [f"2024-01-{day:02d}" for day in (7, 14, 21, 28)] * 2
    text, mapping, refused = check(
        write(
            tmp_path, WEEK_END_DATE=weeks, UPC=[1] * 4 + [2] * 4, STORE_NUM=[9] * 8, PRICE=[1.5] * 8, UNITS=[3] * 8
        )
    )
    elasticity = mapping.policy["elasticity"]
    assert elasticity == {
        "kind": "within",
        "host": "sums",
        "period_minutes": 10_080,
        "period_offset_minutes": 4_320,
    }
    assert "one row per product, store and week" in text and refused == {}


def test_invoice_lines_with_returns(tmp_path: Path) -> None:
    times = [f"2010-12-0{1 + i % 5} 08:{i:02d}:00" for i in range(20)]
    text, mapping, refused = check(
        write(
            tmp_path,
            Invoice=[f"5{i // 4}" for i in range(20)],
            StockCode=["85123A"] * 10 + ["71|53"] * 10,
            Quantity=[6] * 18 + [-2, 0],
            InvoiceDate=times,
            Price=[2.55] * 20,
            Country=["United Kingdom"] * 20,
        )
    )
    kinds = [entry.fields["kind"] for entry in mapping.streams if entry.stream == "orders"]
    assert kinds == ["'placed'", "'returned'"]
    assert refused == {("", "", "NO_PRIMARY_ENTRY"): 1}
    assert "1 rows have negative units" in text and "use Invoice as order_id" in text


def test_revenue_stands_for_a_missing_price(tmp_path: Path) -> None:
    text, _, refused = check(
        write(tmp_path, date=["2024-01-01", "2024-01-02"], sku=["a", "a"], qty=[2, 4], revenue_eur=[5.0, 8.0])
    )
    assert "? The price is revenue_eur / qty" in text and "currency: EUR" in text and refused == {}


def test_prices_that_are_texts_are_read(tmp_path: Path) -> None:
    text, _, refused = check(
        write(
            tmp_path,
            date=["01/31/2024", "02/01/2024"],
            item=["a", "b"],
            units=[2, 4],
            price=["$1,250.00", "$9.50"],
        )
    )
    assert "currency: USD" in text and "is read as %m/%d/%Y" in text and refused == {}


def test_units_that_are_not_whole_are_rounded_with_a_question(tmp_path: Path) -> None:
    text, _, refused = check(
        write(
            tmp_path, day=["2024-01-01", "2024-01-02"], product=["a", "a"], quantity=[0.4, 2.5], price=[1.0, 1.1]
        )
    )
    assert "is not whole in 2 rows" in text and refused == {}


def test_every_role_of_a_scanner_file_is_found(tmp_path: Path) -> None:
    text = propose(
        write(
            tmp_path, week=["2024-01-01"], store_id=[1], product_name=["x"], category=["y"], unit_price=[2.0],
            units_sold=[3], unit_cost=[1.0], on_promo=[True], page_views=[9],
        )
    )  # fmt: skip
    found = dict(line[2:].split(": ", 1) for line in text.splitlines() if line.startswith("# ") and ": " in line)
    names = {role: found[role].split(",")[0] for role in ("date", "store", "product", "price", "units", "cost")}
    assert names == {
        "date": "week", "store": "store_id", "product": "product_name", "price": "unit_price",
        "units": "units_sold", "cost": "unit_cost",
    }  # fmt: skip
    assert found["promotion"].startswith("on_promo") and found["exposures"].startswith("page_views")
    assert found["category"].startswith("category") and yaml.safe_load(text)["name"] == "rows"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sku": ["a"], "price": [1.0], "units": [1]}, "expected a column with the date, found none among sku"),
        ({"date": ["2024-01-01"], "sku": ["a"], "units": [1]}, "expected a column with the price or revenue"),
        ({"date": [], "sku": [], "price": [], "units": []}, "expected at least one row"),
        ({"date": ["soon"], "sku": ["a"], "price": [1.0], "units": [1]}, "date: expected dates, got 'soon'"),
    ],
)
def test_a_file_without_a_needed_column_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(ProposalError, match=message):
        propose(write(tmp_path, **columns))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProposalError, match="expected a CSV or Parquet file, found none"):
        propose(tmp_path / "none.csv")
