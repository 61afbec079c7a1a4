"""The policy of some scopes together: their documents on top of the deployment's policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jobs.pricing.policies.patch import Document
from jobs.pricing.policies.scope import PolicyScope
from jobs.pricing.policy import Policy, PolicyError


class MergedPolicy(NamedTuple):
    """A policy, and the scopes whose documents are not part of it, with the reason."""

    policy: Policy
    left_out: Mapping[PolicyScope, str]


def merge(base: Policy, documents: Mapping[PolicyScope, Document], scopes: Iterable[PolicyScope]) -> MergedPolicy:
    """Return the base policy with the documents of some scopes, wide scopes first.

    A document that contradicts the base policy or the wider scopes' documents is left out. A patch is checked when
    it is sent; a document can still contradict a policy file that changed since, or two others together.

    >>> shoes = PolicyScope("acme", field="category", value="shoes")
    >>> documents = {PolicyScope("acme"): {"limits": {"max_step": 0.05}}, shoes: {"limits": {"max_step": 7}}}
    >>> found = merge(Policy(), documents, documents)
    >>> found.policy.limits.max_step, [scope.text for scope in found.left_out]
    (0.05, ['acme:category=shoes'])
    """
    used: list[Document] = []
    left_out: dict[PolicyScope, str] = {}
    policy = base
    for scope in sorted(scopes, key=lambda each: each.rank):
        try:
            policy = policy_of(base, [*used, documents[scope]])
        except PolicyError as error:
            left_out[scope] = str(error)
            continue
        used.append(documents[scope])
    return MergedPolicy(policy, left_out)


def policy_of(base: Policy, documents: Iterable[Document]) -> Policy:
    """Return the base policy with documents applied in order, wide scopes first.

    Raises
    ------
    PolicyError
        If the result is no valid policy.
    """
    merged: dict[str, dict[str, object]] = {}
    for document in documents:
        for section, keys in document.items():
            merged.setdefault(section, {}).update(keys)
    return base.overridden(merged) if merged else base
