"""Published elasticities of other data sets: the figures' rules on generated data of the same columns."""

from __future__ import annotations

import tomllib

import numpy as np
import pandas as pd
import pytest

from infra.local.config import ROOT
from infra.reports.acceptance import references
from infra.reports.acceptance.references import (
    CANNOT,
    fish_figures,
    near,
    nevo_figures,
    package_folder,
    pizza_figures,
    slopes,
    sums,
)
from infra.reports.program import UsageError, run_program
from infra.reports.programs import PROGRAMS
from infra.reports.report import Figure


def by_name(figures: object) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}  # type: ignore[attr-defined]


def test_one_pass_equals_a_regression_with_an_intercept_per_series() -> None:
    rng = np.random.default_rng(1)
    series = np.repeat([0, 1, 2], 40)
    x = rng.normal(size=(120, 2)) + series[:, None]
    y = 3.0 * series - 2 * x[:, 0] + x[:, 1] + rng.normal(0, 0.1, 120)
    full = np.column_stack([x, *(series == s for s in range(3))])
    assert slopes(sums(x, y, series)) == pytest.approx(np.linalg.lstsq(full, y, rcond=None)[0][:2], abs=1e-9)


def test_a_figure_must_be_within_a_hundredth_of_the_published_one() -> None:
    assert near("a", -1.009, -1.0).ok and not near("a", -1.011, -1.0).ok


def test_constant_prices_are_not_identified_by_walras_learn() -> None:
    frame = pd.DataFrame(
        [
            (f"2015-01-{1 + i % 28:02d}", "11:38:36", f"pie {i % 7}", "L", "classic", 10.0 + i % 7)
            for i in range(280)
        ],
        columns=["date", "time", "name", "size", "type", "price"],
    )
    found = by_name(pizza_figures(frame))
    assert found["pizzaplace: rows used"].value == 280
    assert found["pizzaplace: products that are not 'not_identified'"].value == 0
    assert found["pizzaplace: products"].value == 7 and not found["pizzaplace: products"].ok


def test_an_auction_is_flagged_by_its_instrument_alone() -> None:
    rng = np.random.default_rng(2)
    days = np.eye(5)[rng.integers(5, size=400)][:, :4]
    waves, shock = rng.normal(size=(400, 2)), rng.normal(size=400)
    price = waves.sum(axis=1) + shock
    frame = pd.DataFrame(np.column_stack([price, days, waves]), columns=["lavgprc", "mon", "tues", "wed", "thurs",
                                                                         "wave2", "wave3"])  # fmt: skip
    frame["ltotqty"] = 8 - price + shock
    found = by_name(fish_figures(frame))
    assert found["fish: endogeneity by the instrument"].ok
    assert found["fish: lagged residuals (cannot see an auction)"].rule == "no_sign"
    assert found["fish: two-stage with the waves"].value == pytest.approx(-1, abs=0.1)


def test_a_logit_with_product_effects_is_expressed_by_shares() -> None:
    rng = np.random.default_rng(3)
    markets, products = 60, 4
    cost = rng.normal(size=(markets, products, 20)) * 0.1
    shock = 0.2 * rng.normal(size=(markets, products))
    price = 1 + 0.3 * np.arange(products) + cost.sum(axis=2) + shock
    utility = 1.5 * np.arange(products) - 3 * price + shock
    share = np.exp(utility) / (1 + np.exp(utility).sum(axis=1, keepdims=True))
    frame = pd.DataFrame(
        {
            "market_ids": np.repeat(np.arange(markets), products),
            "product_ids": np.tile(np.arange(products), markets),
            "shares": share.ravel(),
            "prices": price.ravel(),
            **{f"demand_instruments{i}": cost[:, :, i].ravel() for i in range(20)},
        }
    )
    found = by_name(nevo_figures(frame))
    assert found["Nevo: product effects, two-stage"].value == pytest.approx(-3, abs=0.2)
    assert found["Nevo: endogeneity by the instruments"].ok


def test_missing_packages_are_a_wrong_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(references, "PACKAGES", ("no_such_package",))
    assert run_program(PROGRAMS, ["references"]) == 2
    assert "no_such_package is missing: `make references`" in capsys.readouterr().err
    with pytest.raises(UsageError, match="expected the package no_such_package"):
        package_folder("no_such_package")


def test_the_reference_packages_are_pinned_apart_from_the_product() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["reference"]
    apart, product = ((ROOT / name).read_text() for name in ("requirements-reference.lock", "requirements.lock"))
    assert sorted(each.partition("==")[0] for each in group) == sorted(references.PACKAGES)
    for pinned in group:
        assert f"{pinned} " in apart and f"{pinned.partition('==')[0]}==" not in product


def test_every_data_set_states_what_cannot_be_expressed() -> None:
    assert set(CANNOT) == {"apple", "Yogurt", "CigarettesSW", "fish", "pizzaplace", "Nevo"}
