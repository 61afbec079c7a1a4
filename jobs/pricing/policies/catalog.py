"""PolicyCatalog: policies by hash, as the `policies` topic keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.pricing.decision.recorded_policy import recorded_policy
from jobs.pricing.policy import Policy


class PolicyCatalog(dict[str, Policy]):
    """Policies by the hash that decisions record; keys that a record lacks take the value that applied then.

    Examples
    --------
    >>> policy = Policy()
    >>> catalog = PolicyCatalog.of([{"hash": policy.hash, "content": policy.to_dict()}])
    >>> catalog[policy.hash] == policy
    True
    """

    def take(self, record: Mapping[str, Any]) -> None:
        """Take a record of the topic; a hash that is known is not read again."""
        if record["hash"] not in self:
            self[record["hash"]] = recorded_policy(record["content"])

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> PolicyCatalog:
        """Return the catalog of a topic's records."""
        catalog = cls()
        for record in records:
            catalog.take(record)
        return catalog
