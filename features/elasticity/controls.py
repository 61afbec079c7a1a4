"""Controls: the regressors besides the own price (science § 3, "Covariates").

Data for one listing at the end of a minute: the log deviation r of the reference price from its first value, the
prices o_j of J named competitors, and the values v_c of C named covariates.

  (1) J = 0:  controls = (r, v_1 … v_C)
  (2) J > 0:  r_j = log o_j − log o_j at its first observation; 0 while competitor j has no fresh offer in stock
              r̄ = Σr_j/J,  d_j = r_j − r̄;   controls = (r̄, d_2 … d_J, v_1 … v_C)
  (3) v_c is 0 before the covariate's first record

With slopes γ_j of r_1 … r_J, Σγ_j r_j = (Σγ_j)·r̄ + Σ_{j≥2}(γ_j − γ_1)·d_j. So (2) has the own-price slope of a
regression on r_1 … r_J, and its first slope is the response to an equal move of all competitors' prices. This is
the rival elasticity that decisions use, as in (1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.books.covariates import CovariateBook
from features.books.offers import RivalBook
from features.elasticity.settings import ElasticitySettings
from schemas.events import CatalogEntry, Covariate
from schemas.listings import Listing


@dataclass(slots=True)
class CountRow:
    """Counts of one listing, segment and quoted price in a period, with weighted sums of the controls.

    ``weight`` is the sum of the exposures, or of the units for scanner data, at which the controls were observed.
    """

    exposures: float
    orders: float
    units: float
    weight: float
    controls: list[float]

    @classmethod
    def empty(cls, controls: int) -> CountRow:
        """Return a row without counts."""
        return cls(0.0, 0.0, 0.0, 0.0, [0.0] * controls)

    def observe(self, controls: list[float], weight: float) -> None:
        """Add the controls with a weight."""
        self.weight += weight
        for at, value in enumerate(controls):
            self.controls[at] += weight * value

    def means(self) -> list[float]:
        """Return the weighted means of the controls; 0 without weight.

        Examples
        --------
        >>> row = CountRow.empty(2)
        >>> row.observe([0.1, 1.0], 30)
        >>> row.observe([0.1, 0.0], 10)
        >>> row.means()
        [0.1, 0.75]
        """
        return [total / self.weight if self.weight > 0 else 0.0 for total in self.controls]

    def to_list(self) -> list[float]:
        """Return the values in the order of a snapshot; the reference price precedes the weight."""
        first, *others = self.controls
        return [self.exposures, self.orders, self.units, first, self.weight, *others]

    @classmethod
    def from_list(cls, values: list[float]) -> CountRow:
        """Return a row from :meth:`to_list`."""
        exposures, orders, units, first, weight, *others = map(float, values)
        return cls(exposures, orders, units, weight, [first, *others])


class Controls:
    """Covariates and competitors' first prices of a bucket's listings, and the controls that follow from them.

    Parameters
    ----------
    settings : names of competitors and covariates, and the bound of covariates per listing.
    """

    def __init__(self, settings: ElasticitySettings) -> None:
        self._settings = settings
        self._covariates = CovariateBook(settings.max_covariates, settings.covariates)
        self._centres: dict[str, dict[str, float]] = {}  # listing → competitor → log of its first price

    def observe(self, covariate: Covariate) -> None:
        """Store a covariate's record."""
        self._covariates.observe(covariate)

    def values(self, entry: CatalogEntry, reference: float, rivals: RivalBook, now_ms: int) -> list[float]:
        """Return a listing's controls (1-3).

        Parameters
        ----------
        entry : the listing.
        reference : r, the log deviation of the reference price.
        rivals : the offers, for the prices of named competitors.
        now_ms : end of the minute.
        """
        key = Listing.key_of(entry)
        competitors = self._settings.reference_competitors
        prices = self._competitor_controls(key, entry, rivals, now_ms) if competitors else [reference]
        named = (self._covariates.value(key, name) for name in self._settings.covariates)
        return [*prices, *(0.0 if value is None else value for value in named)]

    def _competitor_controls(self, key: str, entry: CatalogEntry, rivals: RivalBook, now_ms: int) -> list[float]:
        """Return r̄ and d_2 … d_J of a listing (2)."""
        deviations = []
        for name in self._settings.reference_competitors:
            price = rivals.effective_minor(key, name, now_ms, currency=entry.currency, pack_size=entry.pack_size)
            if price is None or price <= 0:
                deviations.append(0.0)
                continue
            log_price = float(np.log(price))
            deviations.append(log_price - self._centres.setdefault(key, {}).setdefault(name, log_price))
        mean = sum(deviations) / len(deviations)
        return [mean, *(deviation - mean for deviation in deviations[1:])]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data; without covariates and named competitors it is empty."""
        state: dict[str, Any] = {}
        if self._settings.control_names:
            state["control_names"] = list(self._settings.control_names)
        if len(self._covariates):
            state["covariates"] = self._covariates.snapshot()
        if self._centres:
            state["competitor_centres"] = {key: dict(centres) for key, centres in self._centres.items()}
        return state

    def restore(self, snapshot: Mapping[str, Any]) -> bool:
        """Restore the state; return whether the snapshot's statistics have the regressors of the settings.

        First prices of competitors and values of covariates are kept for all names, so that a name that is added
        to the settings later starts with its present value.
        """
        self._covariates = CovariateBook(self._settings.max_covariates, self._settings.covariates)
        if "covariates" in snapshot:
            self._covariates.restore(snapshot["covariates"])
        centres = snapshot.get("competitor_centres", {})
        self._centres = {key: {name: float(log) for name, log in of.items()} for key, of in centres.items()}
        return tuple(snapshot.get("control_names", ())) == self._settings.control_names
