"""Estimates as a bucket keeps them: from the record of the `estimates` stream, and as a decision reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jobs.pricing.bucket.listing.listing_state import HeldEstimate
from jobs.pricing.decision.inputs import ModelState
from jobs.pricing.policy_learning import Beliefs
from schemas.codes import FallbackReason, Sufficiency


def held_estimate(value: Mapping[str, Any], before: HeldEstimate | None, beliefs: Beliefs) -> HeldEstimate:
    """Return the estimate of a record of an own-price elasticity.

    Numbers that cannot be used (not finite, or an sd that is not above 0) leave those of ``before``, or the
    prior's, with the mark that the newest estimate is unusable.

    >>> record = {"window_end_ms": 60, "mean": -2.0, "sd": 0.0, "sufficient": "sufficient"}
    >>> held = held_estimate(record, None, Beliefs(elasticity_mean=-1.5))
    >>> held.mean, held.window_end_ms, held.refused
    (-1.5, 60, 'estimate_unusable')
    """
    extra, end_ms = value.get("extra") or {}, value["window_end_ms"]
    not_identified = value["sufficient"] == Sufficiency.NOT_IDENTIFIED
    read = HeldEstimate(
        end_ms,
        float(value["mean"]),
        float(value["sd"]),
        float(extra.get("rival_elasticity", beliefs.rival_elasticity)),
        float(extra.get("rival_elasticity_sd", 0.0)),
        value["sufficient"] == Sufficiency.SUFFICIENT,
        int(extra.get("changed_ms", 0)),
        float(extra.get("changed_sd", 0.0)),
        str(value.get("reason", "")) if not_identified else "",
    )
    if read.sd > 0 and all(math.isfinite(number) for number in (*read[1:5], read.changed_sd)):
        return read
    prior = HeldEstimate(
        end_ms, beliefs.elasticity_mean, beliefs.elasticity_sd, beliefs.rival_elasticity, 0.0, sufficient=False
    )
    return (before or prior)._replace(window_end_ms=end_ms, refused=FallbackReason.ESTIMATE_UNUSABLE.value)


def model_state(estimate: HeldEstimate | None) -> ModelState:
    """Return what a decision reads of an estimate's state; None: no estimate came yet.

    >>> model_state(None)
    ModelState(estimated_ms=None, refused='')
    """
    return ModelState() if estimate is None else ModelState(estimate.window_end_ms, estimate.refused)
