"""`walras learn` gives the estimates of both stages of elasticity_job over the same files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch, Fact, Output, parse_batch
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling.pooling_logic import ESTIMATES, PoolingLogic
from jobs.hosting.cell_query import CellQuery
from jobs.learning.estimators import ElasticitySettings, ProductEstimate
from jobs.learning.history import History
from jobs.learning.learner import learn
from jobs.learning.results import Results, accounts_of, results_of
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping
from tests.jobs.learning.generated_history import mapping, write

WITHIN: dict[str, Any] = {"kind": "within", "host": "sums", "period_minutes": 60}
CASES = {
    "within": WITHIN,
    "within with category effects": WITHIN | {"category_effects": True},
    "within, two-hour periods": WITHIN | {"period_minutes": 120, "period_offset_minutes": 60},
    "poisson": {"kind": "poisson", "period_minutes": 60},
    "poisson without lag": {"kind": "poisson", "period_minutes": 60, "order_lag_periods": 0},
    "poisson by day": {"kind": "poisson", "period_minutes": 1440},
    "within with covariates": WITHIN | {"covariates": ["promotion", "display"]},
    "poisson with covariates": {"kind": "poisson", "period_minutes": 60, "covariates": ["display"]},
}


def settings_of(chosen: Mapping) -> ElasticitySettings:
    return elasticity_settings(chosen.policy_over(Policy()))


def stream_estimates(chosen: Mapping, folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the last estimate of each market and SKU of both stages, with unrounded means."""
    settings = replace(settings_of(chosen), emit="changed", emit_shift=1e-13)
    learning, found = ElasticityLogic(settings), dict[tuple[str, str], dict[str, Any]]()
    pools: dict[str, PoolingLogic] = {}

    def pool(outputs: list[Output]) -> None:
        for output in outputs:
            logic = pools.setdefault(output.key, PoolingLogic(settings))
            fact = Fact(output.stream, output.value, output.event_time_ms, "", output.event_time_ms)
            for got in (got for got in logic.on_fact(fact) if got.stream == ESTIMATES):
                found[got.value["market"], got.value["sku"]] = got.value

    end_ms = 0
    with MappedData(chosen, folder) as mapped:
        mapped.fill_lines()
        for end_ms, bucket, rows in CellQuery.of_tables(mapped.duck).batches(1):
            payload = orjson.dumps({"bucket": bucket, "window_end_ms": end_ms, "rows": rows})
            pool(list(learning.on_batch(parse_batch(payload))))
    for later in (1, 2, 3):
        pool(list(learning.on_batch(Batch(0, end_ms + later * settings.period_ms))))
    return found


def learned(chosen: Mapping, folder: Path) -> Results:
    settings = settings_of(chosen)
    with MappedData(chosen, folder) as mapped:
        history = History(mapped, settings)
        got = learn(history, settings)
        return results_of(chosen.name, history, got, accounts_of(mapped, history.counts, got))


@pytest.mark.parametrize("case", CASES)
def test_estimates_equal_those_of_the_stream(case: str, tmp_path: Path) -> None:
    policy = {"elasticity": CASES[case]}
    write(
        tmp_path,
        exposures=CASES[case]["kind"] == "poisson",
        hours=72 if "day" in case else 30,
        covariates="covariates" in CASES[case],
    )
    streamed = stream_estimates(mapping(policy), tmp_path)
    results = learned(mapping(policy), tmp_path)
    assert {p.sku for p in results.products} == {sku for _, sku in streamed}
    for product in results.products:
        for (_, sku), estimate in streamed.items():
            if sku == product.sku:
                assert_equal(product.estimate, estimate)


def assert_equal(mine: ProductEstimate, estimate: dict[str, Any]) -> None:
    pairs = [
        (mine.raw, estimate["raw_mean"]), (mine.raw_se, estimate["raw_se"]), (mine.mean, estimate["mean"]),
        (mine.sd, estimate["sd"]), (mine.rival, estimate["extra"]["rival_elasticity"]),
    ]  # fmt: skip
    for got, expected in pairs:
        assert got == (expected if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-9))
    assert mine.state.value == estimate["sufficient"]
    assert round(mine.rows) == estimate["n"]


def test_the_river_host_gives_the_same_estimates(tmp_path: Path) -> None:
    write(tmp_path, exposures=False)
    streamed = stream_estimates(mapping({"elasticity": WITHIN | {"host": "river"}}), tmp_path)
    results = learned(mapping({"elasticity": WITHIN | {"host": "river"}}), tmp_path)
    for product in results.products:
        assert product.estimate.mean == pytest.approx(streamed["north", product.sku]["mean"], abs=1e-6)


def test_results_are_the_same_in_every_run(tmp_path: Path) -> None:
    write(tmp_path, exposures=False)
    policy = {"elasticity": WITHIN}
    assert learned(mapping(policy), tmp_path) == learned(mapping(policy), tmp_path)


def test_a_price_that_never_moved_is_not_identified(tmp_path: Path) -> None:
    write(tmp_path, exposures=False)
    product = next(p for p in learned(mapping({"elasticity": WITHIN}), tmp_path).products if p.sku == "item 4")
    assert product.state.value == "not_identified"
    assert "never changed" in product.missing and product.optimal is None and product.estimate.raw is None
