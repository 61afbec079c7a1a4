"""The policy of a record, with the values that applied before its later keys existed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.pricing.policy import Policy, without_moved_keys


def recorded_policy(content: Mapping[str, Any]) -> Policy:
    """Return the policy of a record; a key that did not exist yet gets the default that applied then.

    A key that no longer exists is dropped: no decision ever read it. Keys that moved are left out: what a decision
    needs of local time (``day_ends_ms``, ``requests``) is in its inputs.

    >>> recorded_policy({"exploration": {"mode": "bounded"}}).exploration.far_until
    0.0
    >>> recorded_policy({"margin": {"cost_jump": 0.5}}).margin.cost_jump_scale
    'share'
    >>> recorded_policy({"tables": {"life_minutes": 60}}).tables.session_minutes
    0
    >>> recorded_policy({"watch": {"facts_per_month": 4.0, "top": 5}}).watch.top
    5
    >>> recorded_policy({"limits": {"max_step": 0.05, "day_offset_minutes": {"web": 60}}}).limits.max_step
    0.05
    """
    content = without_moved_keys(content)
    watch = {name: value for name, value in content.get("watch", {}).items() if name != "facts_per_month"}
    exploration = {"far_until": 0.0, "far_budget": 0.0, **content.get("exploration", {})}
    margin = {"cost_jump_scale": "share", **content.get("margin", {})}
    tables = {"session_minutes": 0, "unconfirmed_minutes": None, **content.get("tables", {})}
    sections = {"exploration": exploration, "margin": margin, "tables": tables, "watch": watch}
    return Policy.from_dict({**content, **sections})
