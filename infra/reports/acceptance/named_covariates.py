"""Named covariates and several reference prices: orange juice through mapping, cells and both learning steps.

A mapping turns the recorded weeks into the records that a platform would read: orders, one reference offer per
other brand, and the covariates ``deal`` and ``feat``. elasticity_job's logics learn from the minutes that the cell
query makes of them. With all controls the model is that of the reference (13 regressors, store intercepts). The
control figure shows the bias of the same model without the covariates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.bucket_logic import Output
from infra.reports.acceptance.orange_juice import JUICE, Juice
from infra.reports.acceptance.stages import at_least, at_most
from infra.reports.report import Figure
from jobs.hosting.cell_query import CellQuery
from jobs.hosting.chain import Call, Chain
from jobs.pricing.policy import Policy
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping

MAPPING = Path(__file__).with_suffix(".yaml")


class LearningAlone:
    """A runner of a chain that leaves out features and repricing."""

    def run(self, steps: Iterable[Output | Call]) -> Iterator[Output]:
        """Yield the outputs of learning."""
        return (step for step in steps if isinstance(step, Output))


def learn(mapping: Mapping, folder: Path, policies: Iterable[Policy]) -> list[dict[str, dict[str, Any]]]:
    """Learn the mapped rows of a folder under each policy; return each listing's last estimate by key.

    Parameters
    ----------
    mapping : the data as orders, offers and covariates.
    folder : the folder of its files.
    policies : the policies, one pass over the minutes each.
    """
    with MappedData(mapping, folder) as mapped:
        mapped.fill_lines()
        query = CellQuery.of_tables(mapped.duck)
        found = []
        for policy in policies:
            chain = Chain(policy, mapping.buckets, facts=(), runner=LearningAlone())
            found.append({out.key: out.value for out in chain.run_query(query) if out.stream == "estimates"})
    return found


def own_price_slopes(estimates: dict[str, dict[str, Any]], brands: Sequence[int]) -> np.ndarray:
    """Return the raw own-price elasticity of each brand (from 0), which all its stores share."""
    slopes = {estimate["sku"]: estimate["raw_mean"] for estimate in estimates.values()}
    return np.array([slopes[f"brand-{brand + 1}"] for brand in brands], float)


def covariate_figures(juice: Juice, folder: Path, quick: bool) -> list[Figure]:
    """Return the errors of the estimates with and without the covariates."""
    brands = [10] if quick else list(range(11))
    mapping = Mapping.load(MAPPING)
    rows = f"brand IN ({', '.join(str(brand + 1) for brand in brands)})"
    chosen = mapping.model_copy(
        update={"streams": [entry.model_copy(update={"where": rows}) for entry in mapping.streams]}
    )
    reference = juice.reference[brands]
    policy = mapping.policy_over(Policy())
    policies = (policy, policy.overridden({"elasticity": {"covariates": []}}))
    named, omitted = (own_price_slopes(e, brands) for e in learn(chosen, folder / JUICE.parent, policies))
    return [
        at_most(
            "juice, named prices, coupon and feature through mapping and logics (K=13): worst brand",
            np.abs(named - reference).max(),
            0.001,
        ),
        at_least(
            "(control: the same without coupon and feature: worst brand)",
            np.abs(omitted - reference).max(),
            0.2,
        ),
    ]
