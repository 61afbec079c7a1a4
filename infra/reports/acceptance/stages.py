"""What the estimators' acceptance shares: constants, figures, and the transfer from stage 1 to stage 2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from features.bucket_logic import Fact, Output
from features.elasticity import ElasticitySettings
from features.elasticity.pooling.pooling_logic import ESTIMATES, PoolingLogic
from infra.reports.report import Figure, Limit
from schemas.time_units import WEEK_MS

START_MS = 1_700_006_400_000 // WEEK_MS * WEEK_MS
REFERENCE = ElasticitySettings(kind="within", forgetting_per_week=1.0, period_ms=WEEK_MS)


def at_most(name: str, value: float, limit: float) -> Figure:
    """Return a figure with an upper limit."""
    return Figure(name, float(value), limit=Limit(at_most=limit))


def at_least(name: str, value: float, limit: float) -> Figure:
    """Return a figure with a lower limit."""
    return Figure(name, float(value), limit=Limit(at_least=limit))


def pool_outputs(pool: PoolingLogic, outputs: Iterable[Output], estimates: dict[str, dict[str, Any]]) -> None:
    """Pass stage 1's outputs to stage 2 as JSON, one fact each, and store the published estimates by key."""
    for output in outputs:
        value = orjson.loads(orjson.dumps(output.value))
        fact = Fact(output.stream, value, output.event_time_ms, "", output.event_time_ms)
        for got in pool.on_fact(fact):
            if got.stream == ESTIMATES:
                estimates[got.key] = got.value
