"""Policies of a running deployment: what ``walras policy`` does, as functions.

Each function takes the run's settings and returns data; :mod:`jobs.cli.policy` prints it. The policy in force is
the policy file of the deployment with the accepted patches of `policy_changes` (:mod:`jobs.pricing.policies`).

Examples
--------
In a run's environment, with a market ``acme/web-us-usd``::

    from jobs.policies import set_policy, show
    from jobs.runtime.settings import Settings

    settings, shoes = Settings.load(), "acme/web-us-usd:category=shoes"
    set_policy(settings, shoes, {"limits.max_step": 0.05}, operator="ann", reason="spring sale")
    show(settings, shoes).values["limits.max_step"]
"""

from __future__ import annotations

from jobs.policies.control import SentRollback, covered_listings, diff, history, rollback, set_policy, show
from jobs.policies.documents import KeyValue, PolicyUseError, PolicyView, ScopeHistory
from jobs.policies.preview import CategoryPreview, Preview, preview
from jobs.policies.rules import ScopeRules, check_scope, rules_in_force

__all__ = [
    "CategoryPreview", "KeyValue", "PolicyUseError", "PolicyView", "Preview", "ScopeHistory", "ScopeRules",
    "SentRollback", "check_scope", "covered_listings", "diff", "history", "preview", "rollback", "rules_in_force",
    "set_policy", "show",
]  # fmt: skip
