"""ComponentHealth: the result of a health check."""

from __future__ import annotations

from typing import NamedTuple


class ComponentHealth(NamedTuple):
    """Health of one component.

    Attributes
    ----------
    name : the component.
    ok : whether it works.
    note : its state, or the problem and what to do.
    notable : whether the note matters although the component works.
    """

    name: str
    ok: bool
    note: str
    notable: bool = False
