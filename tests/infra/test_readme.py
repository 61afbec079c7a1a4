"""README.md: short, its commands exist, its Python runs, its sample is what the program prints."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from features.bucket_logic import Batch, Fact
from features.feature_logic import FeatureLogic
from jobs.audit.explanation import explain_price, explanation_text
from jobs.connectors.feast.features import apply_feature_repo
from jobs.edge.quoting import read_listing, read_shopper
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry, Offer
from schemas.records.counts import Cell
from tests.feature_files import write_feature_rows
from tests.infra.documents import ROOT, code_blocks

README = (ROOT / "README.md").read_text()
MOST_WORDS = 900
LISTING = "demo/web-us-usd/sku-0001"
START_MS, MINUTE_MS = 1_796_000_400_000, 60_000
KEY = ("demo", "web-us-usd", "sku-0001", "sku-0001")
ENTRY = CatalogEntry("e1", START_MS, *KEY, "coffee", "kvi", "USD", 1, True, 1400, 2499)
OFFER = Offer("e2", START_MS, *KEY, "shop-b", 2450, 0, True, "USD", 1, "feed", 1.0)


def test_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


def explanation_of_a_rivals_move() -> str:
    """Return what ``walras explain`` prints of a known value item whose rival has lowered its price."""
    logic, table, policies = RepricingLogic(), None, {Policy().hash: Policy()}
    for minute in range(1, 180):
        end_ms = START_MS + minute * MINUTE_MS
        facts: dict[str, Any] = {"catalog": (ENTRY,), "offers": (OFFER,)} if minute == 1 else {}
        for output in logic.on_batch(Batch(0, end_ms, now_ms=end_ms + 1_000, **facts)):
            table = output.value if output.stream == "tables" else table
    at_ms = START_MS + 179 * MINUTE_MS + 30_000
    lower = dataclasses.replace(OFFER, event_id="e3", event_time_ms=at_ms, price_minor=2150)
    fact = Fact("offers", dataclasses.asdict(lower), at_ms, "pricing.offers.v1-0-17", at_ms + 20)
    found = {output.stream: orjson.loads(orjson.dumps(output.value)) for output in logic.on_fact(fact)}
    return explanation_text(explain_price(LISTING, found["decisions"], found.get("tables", table), None, policies))


def test_sample_explanation_is_what_the_program_prints() -> None:
    [sample] = [block for block in code_blocks(README) if block.startswith(f"{LISTING} costs")]
    printed = iter(explanation_of_a_rivals_move().splitlines())
    for line in sample.splitlines():
        # Only the first limit has the label "limits"; the sample may leave out earlier limits.
        assert any(line.split() == candidate.split() for candidate in printed), line


def test_quote_request_is_one_that_the_edge_takes() -> None:
    [(path, query)] = re.findall(r"'http://127\.0\.0\.1:8080(/v1/quotes/\S+)\?(\S+)'", README)
    assert read_listing(path) == (LISTING, "demo")
    assert read_shopper(query.encode(), str).customer == "anna"


@pytest.fixture
def run_with_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A run's folder with an hour of features of the README's listing and an applied feature repository."""
    monkeypatch.setenv("WALRAS_HOME", str(tmp_path))
    monkeypatch.setenv("WALRAS_REDIS", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("WALRAS_CLOCK", f"sim:{START_MS + 61 * MINUTE_MS}:{round(time.time() * 1000)}:1")
    settings = Settings.load()
    logic, written = FeatureLogic(), []
    for minute in range(1, 61):
        facts: dict[str, Any] = {"catalog": (ENTRY,), "offers": (OFFER,)} if minute == 1 else {}
        cells = (Cell(*KEY, "base", "myopic", 2449, "USD", exposures=3),)
        batch = Batch(0, START_MS + minute * MINUTE_MS, cells=cells, **facts)
        written += [output.value for output in logic.on_batch(batch) if output.stream == "features"]
    folder = settings.archive_dir / "features" / "written_day=2026-11-30" / "written_hour=01"
    write_feature_rows(written, folder / "features-0-0.parquet")
    apply_feature_repo(settings)
    return settings


def test_feast_and_duckdb_answer_the_same(run_with_features: Settings) -> None:
    [block] = code_blocks(README, "python")
    found: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), found)
    answers = [found[name][["listing", *found["names"]]].to_dict("records") for name in ("by_feast", "by_duckdb")]
    assert answers[0] == answers[1]
    [answer] = answers[0]
    assert answer["listing"] == LISTING and answer["exposures_1h"] > 100
    assert answer["competitor_price_avg_7d"] == pytest.approx(2450)
    assert isinstance(found["by_feast"], pd.DataFrame)
