"""`walras learn` and `walras mapping init` as a user runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from jobs.cli import commands
from jobs.learning.command import assign
from jobs.replay.mapping import Mapping, MappingError
from tests.jobs.learning.generated_history import mapping, write

ELASTICITY = -2.5
runner = CliRunner()


def sales(folder: Path, *, weeks: int = 80, items: int = 8, name: str = "sales.csv") -> Path:
    """Write weekly sales with a known elasticity, a cost, and a row that no field accepts."""
    rng = np.random.default_rng(5)
    rows = []
    for week in range(weeks):
        for item in range(items):
            for store in ("Oslo", "Rome"):
                price = (5 + item) * float(rng.choice([0.8, 0.9, 1.0]))
                units = rng.poisson(60 * (price / (5 + item)) ** ELASTICITY)
                day = pd.Timestamp("2024-01-07") + pd.Timedelta(weeks=week)
                rows.append(
                    (day.date(), store, f"item {item}", "jam", round(price, 2), int(units), 3.0 + 0.5 * item)
                )
    rows.append((rows[0][0], "Oslo", "item 0", "jam", -1.0, 5, 3.0))
    columns = ["week", "store", "product", "category", "price", "units", "unit_cost"]
    frame = pd.DataFrame(rows, columns=columns)
    path = folder / name
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def run(*words: object) -> Result:
    return runner.invoke(commands, [str(word) for word in words], catch_exceptions=False)


def proposed(file: Path) -> Path:
    """Return the file of a proposed mapping."""
    target = file.with_name("proposed.yaml")
    done = run("mapping", "init", file, "--out", target)
    assert done.exit_code == 0, done.output
    return target


@pytest.mark.parametrize("name", ["sales.csv", "sales.parquet"])
def test_a_proposed_mapping_learns_the_elasticity_of_its_file(tmp_path: Path, name: str) -> None:
    file = sales(tmp_path, name=name)
    done = run("learn", "--mapping", proposed(file), file, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    products = pq.read_table(tmp_path / "out" / "products.parquet").to_pandas()
    assert len(products) == 8 and (products["state"] == "sufficient").all()
    assert products["mean"].between(ELASTICITY - 0.4, ELASTICITY + 0.4).all()
    assert products["optimal_price_minor"].between(products["low_price_minor"], products["high_price_minor"]).all()
    document = json.loads((tmp_path / "out" / "learned.json").read_text())
    assert document["rows"]["read"] == 8 * 80 * 2 + 1
    assert document["rows"]["used"] == 8 * 80 * 2
    assert document["rows"]["refused"] == [{"where": "row", "code": "NO_PRIMARY_ENTRY", "count": 1}]
    assert document["states"]["sufficient"] == 8
    refused = pq.read_table(tmp_path / "out" / "refused.parquet").to_pylist()
    assert [row["row"] for row in refused] == [8 * 80 * 2 + 1]


def test_the_page_is_self_contained_and_repeats_exactly(tmp_path: Path) -> None:
    file, pages = sales(tmp_path), []
    chosen = proposed(file)
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert run("learn", "--mapping", chosen, file, "--out", folder).exit_code == 0
        pages.append((folder / "report.html").read_text())
    assert pages[0] == pages[1]
    assert not re.search(r'(src|href)="(?!data:)', pages[0])
    assert pages[0].count("data:image/svg+xml") == 1 + 8
    assert "item 3" in pages[0] and "sufficient" in pages[0] and "NO_PRIMARY_ENTRY" in pages[0]


def test_json_is_printed_alone_on_standard_output(tmp_path: Path) -> None:
    write(tmp_path, exposures=False)
    (tmp_path / "mapping.yaml").write_text(
        yaml.safe_dump(mapping({"elasticity": {"kind": "within"}}).model_dump(by_alias=True))
    )
    done = run("learn", "--mapping", tmp_path / "mapping.yaml", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["kind"] == "within" and document["states"]["not_identified"] == 1


def test_sales_without_exposures_under_poisson_are_refused(tmp_path: Path) -> None:
    file = sales(tmp_path)
    text = proposed(file).read_text().replace("kind: within", "kind: poisson")
    (tmp_path / "poisson.yaml").write_text(text)
    done = run("learn", "--mapping", tmp_path / "poisson.yaml", file)
    assert done.exit_code == 2 and "expected within, or a stream of quotes" in done.output


def test_a_file_without_a_usable_row_ends_with_exit_code_1(tmp_path: Path) -> None:
    file = sales(tmp_path, weeks=2)
    chosen = proposed(file)
    frame = pd.read_csv(file)
    frame["units"] = 0
    frame.to_csv(file, index=False)
    done = run("learn", "--mapping", chosen, file, "--out", tmp_path / "out")
    assert done.exit_code == 1 and "no product has a usable row" in done.output
    assert "No product has a usable row" in (tmp_path / "out" / "report.html").read_text()


def test_several_files_of_one_source_are_one_history(tmp_path: Path) -> None:
    file = sales(tmp_path)
    chosen = proposed(file)
    frame = pd.read_csv(file)
    half = len(frame) // 2
    parts = [tmp_path / "first.csv", tmp_path / "second.csv"]
    frame[:half].to_csv(parts[0], index=False)
    frame[half:].to_csv(parts[1], index=False)
    one = json.loads(run("learn", "--mapping", chosen, file, "--json").stdout)
    two = json.loads(run("learn", "--mapping", chosen, *parts, "--json").stdout)
    assert one["products"] == two["products"]


def test_prices_that_follow_the_demand_of_the_week_before_are_warned_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows = []
    for item in range(4):
        before = 0.0
        for week in range(150):
            price = 10 * float(np.exp(0.5 * before + rng.normal(0, 0.03)))
            before = float(rng.normal(0, 0.2))
            units = rng.poisson(200 * (price / 10) ** ELASTICITY * np.exp(before))
            rows.append(
                ((pd.Timestamp("2022-01-03") + pd.Timedelta(weeks=week)).date(), item, round(price, 2), units)
            )
    file = tmp_path / "sales.csv"
    pd.DataFrame(rows, columns=["week", "sku", "price", "units"]).to_csv(file, index=False)
    done = run("learn", "--mapping", proposed(file), file, "--out", tmp_path / "out")
    assert "endogeneity shown" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "all: price changes follow the demand of the period before, yes" in page
    assert "4 of 4 tested products have prices that follow demand" in page


def promoted_sales(folder: Path, alone: float) -> Path:
    """Write weekly sales of four products: cuts of 20 %, a share of them without the promotion that adds .6."""
    rng = np.random.default_rng(7)
    rows = []
    for week in range(150):
        for item in range(4):
            cut = rng.random() < 0.4
            promotion = int(cut and rng.random() >= alone)
            price = 8.0 if cut else 10.0
            units = rng.poisson(200 * (price / 10) ** ELASTICITY * np.exp(0.6 * promotion))
            day = (pd.Timestamp("2022-01-03") + pd.Timedelta(weeks=week)).date()
            rows.append((day, f"item {item}", price, int(units), promotion))
    file = folder / "sales.csv"
    pd.DataFrame(rows, columns=["week", "sku", "price", "units", "promotion"]).to_csv(file, index=False)
    return file


def promoted_mapping(file: Path, covariates: list[str]) -> Path:
    """Return the file of a proposed mapping with the column ``promotion`` as a covariate of its orders."""
    file.with_name("proposed.yaml").unlink(missing_ok=True)
    target = proposed(file)
    chosen = yaml.safe_load(target.read_text())
    orders = next(entry for entry in chosen["streams"] if entry["stream"] == "orders")
    orders["covariates"] = {"promotion": "promotion"}
    chosen["policy"].setdefault("elasticity", {})["covariates"] = covariates
    target.write_text(yaml.safe_dump(chosen, sort_keys=False))
    return target


def products_of(file: Path, chosen: Path) -> pd.DataFrame:
    out = file.parent / "out"
    done = run("learn", "--mapping", chosen, file, "--out", out)
    assert done.exit_code == 0, done.output
    return pq.read_table(out / "products.parquet").to_pandas()


def test_a_covariate_of_the_mapping_is_separated_from_the_price_cuts_it_accompanies(tmp_path: Path) -> None:
    file = promoted_sales(tmp_path, alone=0.5)
    products = products_of(file, promoted_mapping(file, ["promotion"]))
    assert products["raw"].between(ELASTICITY - 0.4, ELASTICITY + 0.4).all()
    effects = [row[0] for row in products["covariates"]]
    assert {effect["name"] for effect in effects} == {"promotion"}
    assert np.mean([effect["slope"] for effect in effects]) == pytest.approx(0.6, abs=0.05)
    without = products_of(file, promoted_mapping(file, []))
    assert (without["raw"] < ELASTICITY - 0.7).all()
    assert all(len(row) == 0 for row in without["covariates"])


def test_prices_that_moved_only_with_a_promotion_are_not_identified(tmp_path: Path) -> None:
    file = promoted_sales(tmp_path, alone=0.0)
    products = products_of(file, promoted_mapping(file, ["promotion"]))
    assert (products["state"] == "not_identified").all()
    assert products["missing"].str.contains("the price moved only with a covariate").all()
    assert products["raw"].isna().all() and products["optimal_price_minor"].isna().all()


def test_a_covariate_that_the_mapping_lacks_is_refused(tmp_path: Path) -> None:
    file = promoted_sales(tmp_path, alone=0.5)
    done = run("learn", "--mapping", promoted_mapping(file, ["display"]), file)
    assert done.exit_code == 2
    assert "expected some of the mapping's covariates (promotion), got display" in done.stderr


def two_sources() -> Mapping:
    given = mapping({})
    more = given.sources | {"stock": given.sources["rows"].model_copy(update={"file": "stock.csv"})}
    return given.model_copy(update={"sources": more})


def test_files_are_assigned_to_sources_by_name(tmp_path: Path) -> None:
    for name in ("rows.csv", "stock.csv", "other.csv", "notes.txt"):
        (tmp_path / name).write_text("a\n1\n")
    rows, stock = tmp_path / "rows.csv", tmp_path / "stock.csv"
    assert assign(two_sources(), [stock, rows]) == {"rows": [rows], "stock": [stock]}
    assert assign(two_sources(), [tmp_path]) == {"rows": [rows], "stock": [stock]}
    with pytest.raises(MappingError, match=r"expected stock\.csv too"):
        assign(two_sources(), [rows])
    with pytest.raises(MappingError, match=r"other\.csv: expected the file of a source"):
        assign(two_sources(), [rows, tmp_path / "other.csv"])
    with pytest.raises(MappingError, match=r"missing\.csv: expected a CSV or Parquet file, found none"):
        assign(two_sources(), [tmp_path / "missing.csv"])
    with pytest.raises(MappingError, match=r"expected a name that ends in \.csv or \.parquet"):
        assign(two_sources(), [tmp_path / "notes.txt"])


def test_an_existing_mapping_is_not_overwritten(tmp_path: Path) -> None:
    file = sales(tmp_path, weeks=2)
    proposed(file)
    done = run("mapping", "init", file, "--out", tmp_path / "proposed.yaml")
    assert done.exit_code == 2 and "this one exists" in done.output
