"""PolicySection: the base of every section of the policy, and what its fields are declared with.

Members of kinds (guardrails, strategies) import ``Field`` from here, so that pydantic stays behind the policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)

__all__ = [
    "DEPLOYMENT", "Field", "LocalTimeText", "Number", "PolicySection", "Share", "as_stated", "check_section",
    "is_deployment_field",
]  # fmt: skip


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


Number = Annotated[float, AfterValidator(_finite)]
"""A finite number."""
Share = Annotated[float, AfterValidator(_finite), Field(ge=0.0, le=1.0)]
"""A fraction between 0 and 1: 0.10 is ten per cent."""


def _as_text(value: Any) -> Any:
    """Return the text of a date, since YAML reads one as a date."""
    return value.isoformat() if isinstance(value, date) else value


def _local_time(text: str) -> str:
    wanted = "expected a date or a minute of the market's local time, such as 2026-12-24 or 2026-12-24T18:00"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wanted) from None
    if time.tzinfo is not None or time.second or time.microsecond:
        raise ValueError(f"{wanted}, without a time zone and without seconds")
    if not 1970 <= time.year < 2200:
        raise ValueError(f"{wanted}, from 1970 to 2199")
    return time.date().isoformat() if len(text) <= len("2026-12-24") else time.isoformat(timespec="minutes")


LocalTimeText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_local_time)]
"""A date, ``2026-12-24``, or a minute, ``2026-12-24T18:00``, of a market's local time."""


DEPLOYMENT: dict[str, Any] = {"deployment": True}
"""``json_schema_extra`` of a field in a live section that only the policy file sets."""
Method = TypeVar("Method", bound=Callable[..., Any])


def check_section(method: Method) -> Method:
    """Decorate a method that checks keys of a section together: it raises ValueError or returns the section."""
    return cast(Method, model_validator(mode="after")(method))


def as_stated(method: Method) -> Method:
    """Decorate a method that returns a section as plain data, for one whose absent keys are not written."""
    return cast(Method, model_serializer(mode="plain")(method))


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
