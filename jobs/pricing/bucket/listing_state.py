"""What a bucket remembers of one listing beside its counts and its evidence: plain numbers.

Why its own file: it is the state that a person asks about ("what is this listing's cost, table,
target, pending approval?"), and its row in the snapshot is a format that old snapshots keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.price_table import PriceTable

KEPT_TABLES = 5
"""Published prices that a rollback can go back to."""


@dataclass(slots=True)
class ListingState:
    """One listing. Absent values are None; times are epoch milliseconds.

    ``offers``: competitor → [price, shipping, in stock, seen at, validity, price set aside, mean size of its
    moves in logs, kind].
    ``requested_on``: competitor → [price with shipping, in stock] on which its last repricing request rested.
    ``stock``: [event time, on hand, inbound, lead time in days]. Both are as the closed minutes told them;
    ``early_offers`` ([competitor, price, shipping, in stock, seen at, validity, kind]) and ``early_stock`` are
    what came alone, ahead of its minute: prices use it at once, counts do not.
    ``odd_cost``: [last cost beyond the trusted jump, event time of the first one that it agrees with, event
    time of the first one on its side].
    ``estimate``: [window end, ε, sd, η, sd].
    ``target``: [units left, from, until]. ``pending``: what waits for an operator: decision_id, what
    ("price" or "cost"), price_minor, until_ms. ``history``: [version, default price] of tables, newest last.
    ``decided_on``: [ε, sd, requests counted] of the last decision.
    ``continue_after``: the cause of the change that goes on at ``continue_at_ms``.
    ``usual_log``: log of the price that shoppers are used to. ``bought``: orders and units at deals, and at all
    other prices.
    ``quoted``: weighted exposures, their weighted log price, last mean log price (0: none yet).
    ``kept_table``: ``table``, or its record as long as nobody asked for it: most minutes ask for few. The last
    field, as it is the last of a row.
    """

    price_group: str
    offers: dict[str, list[Any]] = field(default_factory=dict)
    stock: list[Any] | None = None
    estimate: list[Any] | None = None
    trusted_cost_minor: int | None = None
    odd_cost: list[int] | None = None
    last_version: int = 0
    last_change_ms: int | None = None
    day: int = -1
    changes_today: int = 0
    history: list[list[int]] = field(default_factory=list)
    needs_start: bool = True
    continue_at_ms: int | None = None
    target: list[int] | None = None
    pending: dict[str, Any] | None = None
    quoted: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    log_price_factor: float = 0.0
    decided_on: list[float] | None = None
    early_offers: list[list[Any]] = field(default_factory=list)
    early_stock: list[Any] | None = None
    continue_after: str | None = None
    usual_log: float | None = None
    bought: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    requested_on: dict[str, list[Any]] = field(default_factory=dict)
    kept_table: PriceTable | Mapping[str, Any] | None = None

    @property
    def table(self) -> PriceTable | None:
        """The table that customers are quoted from."""
        if self.kept_table is not None and not isinstance(self.kept_table, PriceTable):
            self.kept_table = PriceTable.from_record(self.kept_table)
        return self.kept_table

    @table.setter
    def table(self, table: PriceTable) -> None:
        self.kept_table = table

    @property
    def has_table(self) -> bool:
        """Whether there is one."""
        return self.kept_table is not None

    @property
    def table_expires_ms(self) -> int | None:
        """When it expires; asked of every listing each minute, so it does not make the table."""
        match self.kept_table:
            case None:
                return None
            case PriceTable() as table:
                return table.expires_ms
            case record:
                return int(record["expires_ms"])

    @property
    def stock_now(self) -> list[Any] | None:
        """The stock level known now, its minute closed or not."""
        return self.early_stock or self.stock

    def to_row(self) -> list[Any]:
        """Plain data of one listing, in the order of ``ROW``: names once a bucket, not once a listing."""
        kept = self.kept_table
        return [
            *(getattr(self, name) for name in _PLAIN),
            kept.to_record() if isinstance(kept, PriceTable) else kept,
        ]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ListingState:
        """:meth:`to_row` back, given with the names it was written with."""
        state = cls(**{name: row[name] for name in _PLAIN if name in row}, kept_table=row["table"])
        for offer in state.offers.values():
            offer += _OFFER_DEFAULTS[len(offer) :]
        return state


_OFFER_DEFAULTS = (None, None, None, None, None, None, 0.0, None)
"""What a row of ``offers`` that an older version wrote lacks at its end."""
_PLAIN = tuple(name for name in ListingState.__dataclass_fields__ if name != "kept_table")
ROW = (*_PLAIN, "table")
"""Names of a row's values, written beside the rows, since a later version may have more."""
