"""The topics of policies: their contents by hash, and the patches that operators sent."""

from __future__ import annotations

from jobs.connectors.kafka.reading import read_values
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy


class PolicyTopic(PolicyCatalog):
    """Policies by hash, read from the topic when one is asked for that is not known yet.

    Raises
    ------
    KafkaException
        When a policy is asked for, if the broker does not answer.
    """

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self._bootstrap = bootstrap

    def __missing__(self, name: str) -> Policy:
        """Read the topic; raise KeyError if it has no such policy."""
        for record in read_values(self._bootstrap, "policies"):
            self.take(record)
        if name not in self:
            raise KeyError(name)
        return self[name]
