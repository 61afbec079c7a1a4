"""RepricingLogic: what one bucket believes of its listings, and what it does about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from features.logic import Batch, Fact, Output, SnapshotError
from jobs.pricing.policy import Policy


class RepricingLogic:
    """The repricing of one bucket (a :class:`features.logic.BucketLogic`).

    ``on_batch`` takes a minute's cells: demand is booked, the watcher steps, triggers re-price, plans
    that are due go on, tables near their end are renewed. ``on_fact`` takes offers, stock, calendar,
    commands and estimates at once. Outputs: ``evidence``, ``decisions`` (``asdict(Decision)``) and
    ``tables`` (``PriceTable.to_record()``); the host publishes the latter to Redis.

    Parameters
    ----------
    policy : the business numbers; not part of the snapshot.
    """

    name = "repricing"
    version = 1

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Take one minute of the bucket."""
        return []

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Take one offer, stock level, calendar entry, command or estimate at once."""
        return []

    def snapshot(self) -> dict[str, Any]:
        """All that must survive a restart."""
        return {"v": self.version}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        if snapshot.get("v") != self.version:
            raise SnapshotError(f"repricing: expected snapshot version {self.version}, got {snapshot.get('v')!r}")
