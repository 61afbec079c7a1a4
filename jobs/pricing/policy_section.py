"""PolicySection: the base of every section of the policy, and what its fields are declared with.

Members of kinds (guardrails, strategies) import ``Field`` from here, so that pydantic stays behind the policy.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["DEPLOYMENT", "Field", "Number", "PolicySection", "Share", "is_deployment_field"]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


Number = Annotated[float, AfterValidator(_finite)]
"""A finite number."""
Share = Annotated[float, AfterValidator(_finite), Field(ge=0.0, le=1.0)]
"""A fraction between 0 and 1: 0.10 is ten per cent."""


DEPLOYMENT: dict[str, Any] = {"deployment": True}
"""``json_schema_extra`` of a field in a live section that only the policy file sets."""


class PolicySection(BaseModel):
    """A frozen group of numbers that refuses unknown keys.

    A guardrail, strategy or signal with numbers of its own declares a subclass in its own file, with ``key``, and
    reads it with :meth:`jobs.pricing.policy.Policy.section`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: ClassVar[str] = ""
    """The section's name in the policy file."""
    live: ClassVar[bool] = False
    """Whether a patch may change its keys while the jobs run (:mod:`jobs.pricing.policies`).

    Every place that reads such a key takes it from the listing's policy. Fields with :data:`DEPLOYMENT` are
    excepted.
    """


def is_deployment_field(section: type[PolicySection], name: str) -> bool:
    """Return whether a field of a live section changes with the policy file and a restart alone."""
    extra = section.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("deployment"))
