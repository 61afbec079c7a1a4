"""Covariates and named competitors as regressors, through both stages of learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch, Fact, Output
from features.elasticity import ElasticitySettings, WithinRiver, WithinSums, model_for
from features.elasticity.controls import CountRow
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling.pooling_logic import PoolingLogic
from schemas.events import CatalogEntry, Covariate, Offer
from schemas.records.counts import Cell
from schemas.time_units import HOUR_MS

START = 1_760_000_400_000 // HOUR_MS * HOUR_MS
SCANNER = ElasticitySettings(kind="within", host="sums", forgetting_per_week=1.0, emit="changed")
DISPLAY = replace(SCANNER, covariates=("display",))
NAME = ("acme", "web-us-usd", "s1", "s1")
ENTRY = CatalogEntry("e", START, *NAME, "toys", "margin", "USD", 1, True)
KEY = "acme/web-us-usd/s1|own_price_elasticity|all"


def a_covariate(name: str, value: float, at: int) -> Covariate:
    return Covariate("e", at, *NAME, name, value, "test")


def an_offer(competitor: str, price: int, at: int, in_stock: bool = True) -> Offer:
    return Offer("e", at, *NAME, competitor, price, 0, in_stock, "USD", 1, "t", 1.0)


def a_shop_with_displays(seed: int, hours: int = 120) -> tuple[list[Batch], np.ndarray]:
    """Return one minute per hour, and its rows (log units, log price, display).

    Half of the price cuts have a display, which multiplies sales by e^.6. The elasticity is -2.
    """
    rng = np.random.default_rng(seed)
    batches, rows, shown = [], [], -1.0
    for hour in range(hours):
        cut = rng.random() < 0.4
        display = float(cut and rng.random() < 0.5)
        price = int(rng.integers(700, 900)) if cut else int(rng.integers(950, 1050))
        units = round(100_000 * (price / 1000) ** -2 * np.exp(0.6 * display + rng.normal(0, 0.02)))
        end = START + (hour + 1) * HOUR_MS
        covariates = () if display == shown else (a_covariate("display", display, end - 9),)
        shown = display
        cell = Cell(*NAME, "base", "all", price, "USD", orders=units, units=units)
        batches.append(Batch(0, end, (cell,), catalog=(ENTRY,) if hour == 0 else (), covariates=covariates))
        rows.append((np.log(units), np.log(price), display))
    return batches, np.array(rows)


def least_squares(rows: np.ndarray) -> np.ndarray:
    """Return the slopes of the first column on the others, with an intercept."""
    centred = rows - rows.mean(axis=0)
    return np.asarray(np.linalg.lstsq(centred[:, 1:], centred[:, 0], rcond=None)[0])


def restarted(logic: ElasticityLogic, settings: ElasticitySettings) -> ElasticityLogic:
    fresh = ElasticityLogic(settings)
    fresh.restore(orjson.loads(orjson.dumps(logic.snapshot(), default=array_text)))
    return fresh


def learned(batches: list[Batch], settings: ElasticitySettings, restart_every: int = 0) -> list[Output]:
    logic, outputs = ElasticityLogic(settings), []
    for at, batch in enumerate(batches):
        outputs += logic.on_batch(batch)
        if restart_every and at % restart_every == 0:
            logic = restarted(logic, settings)
    return outputs


def estimate(sums: list[Output], settings: ElasticitySettings) -> dict[str, Any]:
    pool, published = PoolingLogic(settings), {}
    for output in sums:
        for got in pool.on_fact(Fact(output.stream, orjson.loads(orjson.dumps(output.value)), 0, "", 0)):
            published[got.key] = got.value
    return published[KEY]


def test_display_is_separated_from_the_price_cuts_that_it_accompanies() -> None:
    batches, rows = a_shop_with_displays(1)
    with_display = estimate(learned(batches, DISPLAY), DISPLAY)["raw_mean"]
    without = estimate(learned(batches, SCANNER), SCANNER)["raw_mean"]
    assert with_display == pytest.approx(least_squares(rows)[0], abs=1e-6)
    assert without == pytest.approx(least_squares(rows[:, :2])[0], abs=1e-6)
    assert with_display == pytest.approx(-2.0, abs=0.05)
    assert without < -2.5


def test_display_is_separated_from_price_cuts_in_counts() -> None:
    rng = np.random.default_rng(5)
    batches, _ = a_shop_with_displays(5, hours=300)
    shown, display = [], 0.0
    for batch in batches:
        display = batch.covariates[0].value if batch.covariates else display
        price = batch.cells[0].price_minor
        orders = int(rng.poisson(2_000 * 0.05 * (price / 1000) ** -2 * np.exp(0.6 * display)))
        shown.append(replace(batch, cells=(replace(batch.cells[0], exposures=2_000, orders=orders),)))
    counts = ElasticitySettings(forgetting_per_week=1.0, emit="changed")
    named = replace(counts, covariates=("display",))
    assert estimate(learned(shown, named), named)["raw_mean"] == pytest.approx(-2.0, abs=0.15)
    assert estimate(learned(shown, counts), counts)["raw_mean"] < -2.4


def a_shop_with_promotions(seed: int, alone: float, hours: int = 200) -> list[Batch]:
    """Return one minute per hour: cuts to 8.00, a share of them without a promotion. The elasticity is -2."""
    rng = np.random.default_rng(seed)
    batches, shown = [], -1.0
    for hour in range(hours):
        cut = rng.random() < 0.5
        promotion = float(cut and rng.random() >= alone)
        price = 800 if cut else 1000
        orders = int(rng.poisson(200 * (price / 1000) ** -2 * np.exp(0.6 * promotion)))
        end = START + (hour + 1) * HOUR_MS
        covariates = () if promotion == shown else (a_covariate("promotion", promotion, end - 9),)
        shown = promotion
        cell = Cell(*NAME, "base", "all", price, "USD", exposures=4_000, orders=orders, units=orders)
        batches.append(Batch(0, end, (cell,), catalog=(ENTRY,) if hour == 0 else (), covariates=covariates))
    return batches


PROMOTION = [
    replace(SCANNER, covariates=("promotion",)),
    replace(SCANNER, covariates=("promotion",), host="river"),
    ElasticitySettings(forgetting_per_week=1.0, emit="changed", covariates=("promotion",)),
    ElasticitySettings(models=("logit_river",), emit="changed", covariates=("promotion",)),
]


@pytest.mark.parametrize("settings", PROMOTION, ids=["sums", "river", "poisson", "logit"])
@pytest.mark.parametrize("alone", [0.0, 0.02])
def test_price_that_moves_only_with_a_promotion_is_not_identified(
    settings: ElasticitySettings, alone: float
) -> None:
    published = estimate(learned(a_shop_with_promotions(1, alone), settings), settings)
    assert (published["sufficient"], published["reason"]) == ("not_identified", "moved_with_covariates")
    assert published["raw_mean"] is None
    assert published["mean"] == pytest.approx(published["extra"]["category_mean"], abs=0.2)


@pytest.mark.parametrize("settings", PROMOTION[:3], ids=["sums", "river", "poisson"])
def test_price_that_moves_with_and_without_promotions_is_identified(settings: ElasticitySettings) -> None:
    published = estimate(learned(a_shop_with_promotions(1, 0.5), settings), settings)
    assert (published["sufficient"], published["reason"]) == ("sufficient", "")
    assert published["raw_mean"] == pytest.approx(-2.0, abs=0.2)


def test_price_that_moves_with_a_promotion_that_is_no_regressor_has_its_effect() -> None:
    published = estimate(learned(a_shop_with_promotions(1, 0.0), SCANNER), SCANNER)
    assert published["reason"] == ""
    assert published["raw_mean"] < -4


def test_covariates_that_the_settings_do_not_name_change_nothing() -> None:
    batches, _ = a_shop_with_displays(2, hours=30)
    assert learned(batches, SCANNER) == learned([replace(b, covariates=()) for b in batches], SCANNER)


@pytest.mark.parametrize(
    "settings",
    [DISPLAY, replace(DISPLAY, host="river"), ElasticitySettings(covariates=("display", "promotion"))],
    ids=["sums", "river", "poisson"],
)
def test_restarts_change_nothing(settings: ElasticitySettings) -> None:
    batches, _ = a_shop_with_displays(3, hours=40)
    shown = [replace(b, cells=(replace(b.cells[0], exposures=b.cells[0].units * 9),)) for b in batches]
    assert learned(shown, settings, restart_every=3) == learned(shown, settings)


def test_covariate_is_averaged_over_the_units_of_the_period() -> None:
    logic = ElasticityLogic(replace(DISPLAY, covariates=("display", "temperature")))
    cells = [Cell(*NAME, "base", "all", 1000, "USD", orders=n, units=n) for n in (30, 10)]
    first = (a_covariate("display", 1.0, START + 5), a_covariate("temperature", 20.0, START + 5))
    logic.on_batch(Batch(0, START + 60_000, (cells[0],), catalog=(ENTRY,), covariates=first))
    off = (a_covariate("display", 0.0, START + 60_005),)
    logic.on_batch(Batch(0, START + 120_000, (cells[1],), covariates=off))
    [row] = logic.snapshot()["open"]
    assert CountRow.from_list(row[3:]).means() == [0.0, 0.75, 20.0]


def test_covariate_of_an_unknown_listing_is_ignored() -> None:
    logic = ElasticityLogic(DISPLAY)
    logic.on_batch(Batch(0, START + 60_000, covariates=(a_covariate("display", 1.0, START + 5),)))
    logic.on_batch(Batch(0, START + 120_000, catalog=(ENTRY,)))
    assert "covariates" not in logic.snapshot()


def test_older_covariate_does_not_replace_a_newer_one() -> None:
    logic = ElasticityLogic(DISPLAY)
    newer, older = a_covariate("display", 1.0, START + 5), a_covariate("display", 0.0, START + 4)
    logic.on_batch(Batch(0, START + 60_000, catalog=(ENTRY,), covariates=(newer,)))
    logic.on_batch(Batch(0, START + 120_000, covariates=(older,)))
    assert logic.snapshot()["covariates"]["listings"]["acme/web-us-usd/s1"] == {"display": [START + 5, 1.0]}


def a_shop_with_competitors(seed: int, hours: int = 200) -> tuple[list[Batch], np.ndarray]:
    """Return one minute per hour with prices of two competitors, the first sometimes out of stock, and its rows.

    The slopes are -2 for the own price, .9 and .3 for the competitors.
    """
    rng = np.random.default_rng(seed)
    batches, rows, first = [], [], {}
    for hour in range(hours):
        end = START + (hour + 1) * HOUR_MS
        prices = {name: int(rng.integers(800, 1200)) for name in ("b", "c")}
        absent = hour > 0 and rng.random() < 0.1
        own = int(rng.integers(800, 1200))
        deviations = [np.log(prices[name]) - first.setdefault(name, np.log(prices[name])) for name in ("b", "c")]
        deviations[0] *= not absent
        units = round(1e6 * (own / 1000) ** -2 * np.exp(0.9 * deviations[0] + 0.3 * deviations[1]))
        offers = (an_offer("b", prices["b"], end - 9, not absent), an_offer("c", prices["c"], end - 9))
        cell = Cell(*NAME, "base", "all", own, "USD", orders=units, units=units)
        batches.append(Batch(0, end, (cell,), offers, catalog=(ENTRY,) if hour == 0 else ()))
        rows.append((np.log(units), np.log(own), *deviations))
    return batches, np.array(rows)


def test_named_competitors_have_slopes_of_their_own() -> None:
    settings = replace(SCANNER, reference_competitors=("b", "c"), rival_sd=1e6)
    batches, rows = a_shop_with_competitors(1)
    slopes = least_squares(rows)
    published = estimate(learned(batches, settings), settings)
    assert published["raw_mean"] == pytest.approx(slopes[0], abs=1e-6)
    # The published rival elasticity is the response to an equal move of both competitors' prices.
    assert published["extra"]["rival_elasticity"] == pytest.approx(slopes[1] + slopes[2], abs=1e-6)
    assert slopes == pytest.approx([-2, 0.9, 0.3], abs=1e-3)
    mean_alone = replace(SCANNER, rival_sd=1e6)
    assert abs(estimate(learned(batches, mean_alone), mean_alone)["raw_mean"] + 2) > 1e-3


def test_restarts_keep_the_first_prices_of_competitors() -> None:
    settings = replace(SCANNER, reference_competitors=("b", "c"), covariates=("display",))
    batches, _ = a_shop_with_competitors(2, hours=40)
    assert learned(batches, settings, restart_every=3) == learned(batches, settings)


def test_new_names_restart_learning_and_keep_everything_else() -> None:
    batches, rows = a_shop_with_displays(4)
    logic = ElasticityLogic(SCANNER)
    for batch in batches[:60]:
        logic.on_batch(batch)
    logic = restarted(logic, DISPLAY)
    sums = [output for batch in batches[60:] for output in logic.on_batch(batch)]
    assert {output.key for output in sums} == {"acme/toys|display"}
    published = estimate(sums, DISPLAY)
    # The display of the first new row was sent before the restart.
    assert published["raw_mean"] == pytest.approx(least_squares(rows[60:])[0], abs=1e-6)
    assert published["n"] == 59


def test_all_listings_are_announced_under_the_key_of_new_names() -> None:
    logic = ElasticityLogic(SCANNER)
    logic.on_batch(Batch(0, START + HOUR_MS, catalog=(ENTRY,)))
    [output] = restarted(logic, DISPLAY).on_batch(Batch(0, START + 2 * HOUR_MS))
    assert (output.key, output.value["listings"]) == ("acme/toys|display", ["acme/web-us-usd/s1"])


def test_more_regressors_than_river_is_for_are_learned_as_sums() -> None:
    river = ElasticitySettings(kind="within", covariates=("a", "b"))
    assert isinstance(model_for(river, river.slopes), WithinRiver)
    wide = ElasticitySettings(kind="within", covariates=("a", "b", "c"))
    assert isinstance(model_for(wide, wide.slopes), WithinSums)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"covariates": ("a", "a")}, "covariates: expected at most 16 different names"),
        ({"covariates": ("a", "b"), "max_covariates": 1}, "covariates: expected at most 1 different names"),
        ({"reference_competitors": tuple("abcdefghijklmnopq")}, "reference_competitors: expected at most 16"),
    ],
)
def test_error_of_invalid_names_says_what_is_expected(names: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        ElasticitySettings(**names)
