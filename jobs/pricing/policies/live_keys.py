"""Which keys of the policy are live: a patch may change them while the jobs run.

The others are deployment keys: periods, segments, windows and learning, from which the state of the jobs is built.
They change with the policy file and a restart.
"""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import get_args

from jobs.pricing.policy import Policy, member_sections
from jobs.pricing.policy_section import PolicySection, is_deployment_field

FREE_SECTIONS = ("name",)
"""Keys of the policy that are no section."""


@cache
def _sections() -> dict[str, type[PolicySection]]:
    own = {name: info.annotation for name, info in Policy.model_fields.items() if name not in FREE_SECTIONS}
    found = {
        name: kind for name, kind in own.items() if isinstance(kind, type) and issubclass(kind, PolicySection)
    }
    return found | {section.key: section for section in member_sections()}


@cache
def live_keys() -> tuple[str, ...]:
    """Return all live keys as ``section.key``, sorted.

    >>> "limits.max_step" in live_keys(), "elasticity.period_minutes" in live_keys()
    (True, False)
    """
    return tuple(
        sorted(
            f"{section}.{name}"
            for section, kind in _sections().items()
            for name in kind.model_fields
            if kind.live and not is_deployment_field(kind, name)
        )
    )


@cache
def all_keys() -> tuple[str, ...]:
    """Return all keys as ``section.key``, sorted."""
    return tuple(
        sorted(f"{section}.{name}" for section, kind in _sections().items() for name in kind.model_fields)
    )


def is_live(key: str) -> bool:
    """Return whether a patch may change a key, given as ``section.key``."""
    return key in live_keys()


def accepts_null(key: str) -> bool:
    """Return whether null is a value of a live key, as in the policy file; a patch cannot set it.

    >>> accepts_null("roles.kvi"), accepts_null("limits.max_step")
    (True, False)
    """
    section, _, name = key.partition(".")
    return is_live(key) and NoneType in get_args(_sections()[section].model_fields[name].annotation)


def description(key: str) -> str:
    """Return what a key means, from its declaration."""
    section, _, name = key.partition(".")
    return _sections()[section].model_fields[name].description or ""
