"""Balance of the ledger: whether every offset that was read has a verdict.

Per input partition: ``offsets read = on time + late + rejected + ticks``. demand_job writes a line per partition
and minute; after a restart a minute may be written again, and its last line counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_COUNTS = ("offsets_read", "on_time", "late", "rejected", "ticks")


@dataclass(frozen=True, slots=True)
class Balance:
    """The sums of one input partition.

    Attributes
    ----------
    end_offset : the topic's current end; None if it was not read.
    """

    topic: str
    partition: int
    minutes: int
    offsets_read: int
    on_time: int
    late: int
    rejected: int
    ticks: int
    end_offset: int | None = None

    @property
    def difference(self) -> int:
        """Offsets without a verdict; negative: verdicts without an offset."""
        return self.offsets_read - self.on_time - self.late - self.rejected - self.ticks

    @property
    def behind(self) -> int | None:
        """Records of the topic that no closed minute accounts for yet; None if the topic's end was not read."""
        return None if self.end_offset is None else self.end_offset - self.offsets_read


def balance_ledger(
    entries: Iterable[Mapping[str, Any]], end_offsets: Mapping[tuple[str, int], int] | None = None
) -> list[Balance]:
    """Return the balances by topic and partition, in order.

    Parameters
    ----------
    entries : values of the `ledger` topic, each partition in order.
    end_offsets : end of each (topic, partition). A partition that has records and no ledger line gets a balance
        with nothing read.

    Examples
    --------
    >>> line = {"topic": "t", "partition": 0, "window_end_ms": 60000, "offsets_read": 5, "on_time": 3, "late": 1,
    ...         "rejected": 1, "ticks": 0}
    >>> [balance] = balance_ledger([line, line])
    >>> balance.offsets_read, balance.difference
    (5, 0)
    """
    last: dict[tuple[str, int, int], Mapping[str, Any]] = {}
    for entry in entries:
        last[entry["topic"], int(entry["partition"]), int(entry["window_end_ms"])] = entry
    sums: dict[tuple[str, int], Counter[str]] = {}
    for (topic, partition, _), entry in last.items():
        total = sums.setdefault((topic, partition), Counter())
        total.update({name: int(entry[name]) for name in _COUNTS} | {"minutes": 1})
    ends = end_offsets or {}
    for key, end in ends.items():
        if end:
            sums.setdefault(key, Counter())
    return [
        Balance(
            topic=topic,
            partition=partition,
            minutes=total["minutes"],
            **{name: total[name] for name in _COUNTS},
            end_offset=ends.get((topic, partition)),
        )
        for (topic, partition), total in sorted(sums.items())
    ]
