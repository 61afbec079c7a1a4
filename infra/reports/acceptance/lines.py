"""What the acceptance of the estimators shares: a figure beside its limit, and the way from stage 1 to stage 2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from features.bucket_logic import Fact, Output
from features.elasticity import ElasticitySettings
from features.elasticity.pooling_logic import PoolingLogic
from features.elasticity.settings import WEEK_MS

START_MS = 1_700_006_400_000 // WEEK_MS * WEEK_MS
REFERENCE = ElasticitySettings(kind="within", forgetting_per_week=1.0, period_ms=WEEK_MS)


@dataclass(frozen=True)
class Line:
    """One figure beside its limit."""

    name: str
    value: float
    limit: str
    ok: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'MISS'}  {self.value:>11.5g}  {self.limit:<14}  {self.name}"


def at_most(name: str, value: float, limit: float) -> Line:
    """A line that holds up to the limit."""
    return Line(name, float(value), f"<= {limit:g}", bool(value <= limit))


def at_least(name: str, value: float, limit: float) -> Line:
    """A line that holds from the limit on."""
    return Line(name, float(value), f">= {limit:g}", bool(value >= limit))


def between(name: str, value: float, low: float, high: float) -> Line:
    """A line that holds within two limits."""
    return Line(name, float(value), f"{low:g} .. {high:g}", bool(low <= value <= high))


def take(pool: PoolingLogic, outputs: Iterable[Output], estimates: dict[str, dict[str, Any]]) -> None:
    """Carry stage 1's outputs to stage 2 as Kafka would: as JSON, one fact each."""
    for output in outputs:
        value = orjson.loads(orjson.dumps(output.value))
        fact = Fact(output.stream, value, output.event_time_ms, "", output.event_time_ms)
        for got in pool.on_fact(fact):
            estimates[got.key] = got.value
