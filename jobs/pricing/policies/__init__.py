"""Policies by scope: patches of the deployment's policy that operators set at run time.

The deployment's policy file holds for every listing. A patch replaces some of its live keys in a scope: a tenant,
a market, or the listings of one category, role, price group or SKU. Narrower scopes apply after wider ones.

- :mod:`scope`: scopes, their text form and their order.
- :mod:`live_keys`: which keys a patch may change, and which need a restart of the jobs.
- :mod:`patch`: a patch as sent, and the fold of a scope's patches.
- :mod:`check`: whether a patch can be applied.
- :mod:`merge`: the policy of several scopes together.
- :mod:`book`: the patches of one bucket, and the policy in force for a listing.
- :mod:`catalog`: policies by hash, from which decisions are recomputed.

To make a key live, set ``live`` of its section (:class:`jobs.pricing.policy_section.PolicySection`), or remove
``DEPLOYMENT`` from its field, and read it from the listing's policy wherever it is read.
"""

from __future__ import annotations

from jobs.pricing.policies.book import PolicyBook
from jobs.pricing.policies.catalog import PolicyCatalog
from jobs.pricing.policies.check import check_patch, check_planned
from jobs.pricing.policies.live_keys import is_live, live_keys
from jobs.pricing.policies.merge import MergedPolicy, merge
from jobs.pricing.policies.patch import PatchError, PolicyPatch, fold
from jobs.pricing.policies.scope import PolicyScope, ScopeError

__all__ = [
    "MergedPolicy", "PatchError", "PolicyBook", "PolicyCatalog", "PolicyPatch", "PolicyScope", "ScopeError",
    "check_patch", "check_planned", "fold", "is_live", "live_keys", "merge",
]  # fmt: skip
