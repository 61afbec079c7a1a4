"""RedemptionHistory: which redemptions count, from the records of the topic ``redemptions``.

Every partition holds starts of epochs among its redemptions. A redemption counts if its epoch is the last one that
was started before it in its partition: a later record of an earlier epoch was reserved in a Redis that has been
lost since. So the topic alone decides, whatever the delay of a writer (decision 67).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.records.operator_events import RedemptionKind
from schemas.time_units import HOUR_MS

KEPT_AFTER_EXPIRY_MS = HOUR_MS
"""Time for which a used lock is kept after its expiry: for late retries, and since edges' clocks differ."""
ANSWER_FIELDS = (
    "lock_id", "order_id", "redeemed_at_ms", "expires_ms", "tenant", "market", "sku", "customer", "price_minor",
    "currency", "version", "quote_id",
)  # fmt: skip
"""Fields of a redemption's record that a redemption's reply repeats."""


class RedemptionHistory:
    """The redemptions that count, folded from the topic's records in the order of each partition.

    Parameters
    ----------
    now_ms : redemptions of locks that had expired ``KEPT_AFTER_EXPIRY_MS`` before are left out.

    Attributes
    ----------
    used : the redemption of each lock, by the lock's id.
    void : records of an epoch that was over.
    unreadable : records that are no redemptions.

    Examples
    --------
    >>> history = RedemptionHistory(now_ms=0)
    >>> a, b = ({"kind": "redeemed", "lock_id": "l", "order_id": o, "expires_ms": 5} for o in "ab")
    >>> for record in ({"kind": "epoch", "epoch": "2"}, a | {"epoch": "1"}, b | {"epoch": "2"}):
    ...     history.take(0, record)
    >>> history.used["l"]["order_id"], history.void
    ('b', 1)
    """

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._epochs: dict[int, str] = {}
        self.used: dict[str, dict[str, Any]] = {}
        self.void = 0
        self.unreadable = 0

    def take(self, partition: int, record: Mapping[str, Any]) -> None:
        """Add the next record of a partition. Before the first start that the topic holds, every record counts."""
        try:
            kind, epoch = record["kind"], str(record["epoch"])
            if kind == RedemptionKind.EPOCH:
                self._epochs[partition] = epoch
            elif kind != RedemptionKind.REDEEMED:
                self.unreadable += 1
            elif self._epochs.get(partition, epoch) != epoch:
                self.void += 1
            elif int(record["expires_ms"]) + KEPT_AFTER_EXPIRY_MS > self._now_ms:
                answer = {name: record[name] for name in ANSWER_FIELDS if name in record}
                # A repeated request writes the same redemption again.
                self.used.setdefault(str(record["lock_id"]), answer)
        except (KeyError, TypeError, ValueError):
            self.unreadable += 1
