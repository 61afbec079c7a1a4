"""ListingState: what a bucket keeps of one listing beside its counts and its evidence.

A file of its own because its row in the snapshot is a recorded format: rows of older versions are still read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from features.books.offers import RivalOffer
from jobs.pricing.bucket.listing.price_experience import PriceExperience
from jobs.pricing.decision.inputs import DealCounts
from schemas.price_table import PriceTable

KEPT_TABLES = 5
"""Published prices that a rollback can go back to."""


class HeldOffer(NamedTuple):
    """A rival's offer as it counts.

    ``set_aside_minor``: a price that moved too far to be believed until it comes again. ``usual_move``: mean
    size of the rival's own moves, in logs. ``offer_kind`` None: a rival's.
    """

    price_minor: int
    shipping_minor: int
    in_stock: bool
    at_ms: int
    validity_ms: int | None = None
    set_aside_minor: int | None = None
    usual_move: float = 0.0
    offer_kind: str | None = None

    @property
    def effective_minor(self) -> int:
        """Price and shipping."""
        return self.price_minor + self.shipping_minor


class RequestedOn(NamedTuple):
    """A rival's price with shipping, and whether it was in stock, when it last requested a repricing."""

    effective_minor: int
    in_stock: bool


class StockLevel(NamedTuple):
    """Units on hand and inbound, and days until the next delivery."""

    at_ms: int
    on_hand: int
    inbound: int
    lead_time_days: float


class HeldEstimate(NamedTuple):
    """Own-price elasticity and rival elasticity with their standard deviations, and the window's end.

    ``sufficient``: whether the estimate's state is; True in snapshots without it, whose prices no range bounded.
    ``changed_ms``: time of the last confirmed change of demand, 0 without one; ``changed_sd``: sd that changes
    added to the elasticity so far. ``refused``: why it is not identified or not usable, empty otherwise
    (:class:`jobs.pricing.decision.inputs.ModelState`).
    """

    window_end_ms: int
    mean: float
    sd: float
    rival_mean: float
    rival_sd: float
    sufficient: bool = True
    changed_ms: int = 0
    changed_sd: float = 0.0
    refused: str = ""


class OddCost(NamedTuple):
    """The last cost beyond the trusted jump.

    ``agrees_since_ms``: event time of the first cost that it agrees with; ``odd_since_ms``: of the first cost
    on its side of the trusted one.
    """

    cost_minor: int
    agrees_since_ms: int
    odd_since_ms: int


class SaleTarget(NamedTuple):
    """Units left to sell between two event times."""

    units_left: int
    from_ms: int
    until_ms: int


class DecidedOn(NamedTuple):
    """Elasticity, its sd and the requests counted at the last decision."""

    elasticity: float
    elasticity_sd: float
    requests: float


class QuotedPrice(NamedTuple):
    """The price that shoppers see: weighted exposures, their weighted log price, last mean log price (0: none)."""

    exposures: float = 0.0
    weighted_log_price: float = 0.0
    mean_log_price: float = 0.0


class PublishedPrice(NamedTuple):
    """A published table's version and main price."""

    version: int
    default_minor: int


@dataclass(slots=True)
class ListingState:
    """One listing. Absent values are None; times are epoch milliseconds of event time.

    ``offers``, ``stock``: as the closed minutes report them. ``early_offers``, ``early_stock``: received ahead
    of their minute; decisions use them at once, counts do not. ``requested_on``: by rival. ``pending``: a
    decision that awaits an operator: decision_id, what ("price" or "cost"), price_minor, until_ms. ``history``:
    newest last. ``continue_after``: the cause of the change that goes on at ``continue_at_ms``. ``usual_log``:
    log of the price that shoppers are used to. ``bought``: orders and units at deals, and at all other prices.
    ``experience``: the observed prices, and the last step outside them. ``since_ms``: time of the first catalog
    entry; None in snapshots without it. ``fallback``: stage of the fallback chain at the last decision, and its
    reasons; empty without a fallback.
    ``kept_table``: the table, or its record until it is first needed; the last field, as it is the last value
    of a row.
    """

    price_group: str
    offers: dict[str, HeldOffer] = field(default_factory=dict)
    stock: StockLevel | None = None
    estimate: HeldEstimate | None = None
    trusted_cost_minor: int | None = None
    odd_cost: OddCost | None = None
    last_version: int = 0
    last_change_ms: int | None = None
    day: int = -1
    changes_today: int = 0
    history: list[PublishedPrice] = field(default_factory=list)
    needs_start: bool = True
    continue_at_ms: int | None = None
    target: SaleTarget | None = None
    pending: dict[str, Any] | None = None
    quoted: QuotedPrice = field(default_factory=QuotedPrice)
    log_price_factor: float = 0.0
    decided_on: DecidedOn | None = None
    early_offers: list[RivalOffer] = field(default_factory=list)
    early_stock: StockLevel | None = None
    continue_after: str | None = None
    usual_log: float | None = None
    bought: DealCounts = field(default_factory=DealCounts)
    requested_on: dict[str, RequestedOn] = field(default_factory=dict)
    experience: PriceExperience = field(default_factory=PriceExperience)
    since_ms: int | None = None
    fallback: tuple[str, ...] = ()
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
        """When the table expires; read for every listing each minute, so it does not build the table."""
        match self.kept_table:
            case None:
                return None
            case PriceTable() as table:
                return table.expires_ms
            case record:
                return int(record["expires_ms"])

    @property
    def stock_now(self) -> StockLevel | None:
        """The newest stock level, its minute closed or not."""
        return self.early_stock or self.stock

    def forget_amounts(self) -> None:
        """Forget all amounts and what follows from them, after a change of currency.

        What is left has no currency: stock, elasticities, a sale target's units, versions.
        """
        fresh = ListingState(self.price_group)
        for name in _OF_CURRENCY:
            setattr(self, name, getattr(fresh, name))

    def forget_offers(self) -> None:
        """Forget the rivals' offers, which are not comparable with the listing any more."""
        self.offers, self.early_offers, self.requested_on = {}, [], {}

    def to_row(self) -> list[Any]:
        """Return plain data in the order of ``ROW``."""
        kept = self.kept_table
        values = [write(getattr(self, name)) for name, write in _WRITERS]
        return [*values, kept.to_record() if isinstance(kept, PriceTable) else kept]

    @classmethod
    def of_row(cls, row: list[Any]) -> ListingState:
        """Read :meth:`to_row` of this version back."""
        return cls(*[read(value) for read, value in zip(_READERS, row, strict=True)])

    @classmethod
    def of_names(cls, row: Mapping[str, Any]) -> ListingState:
        """Read a row of an older version, given with the names that it was written with."""
        values = {name: _READER_OF[name](row[name]) for name in _PLAIN if name in row}
        return cls(**values, kept_table=row["table"])


_OF_CURRENCY = (
    "offers", "trusted_cost_minor", "odd_cost", "last_change_ms", "day", "changes_today", "history", "needs_start",
    "continue_at_ms", "pending", "quoted", "decided_on", "early_offers", "continue_after", "usual_log",
    "requested_on", "experience", "fallback", "kept_table",
)  # fmt: skip
"""Values of a listing's state that are amounts, or that follow from decisions on amounts."""


def _same(value: Any) -> Any:
    return value


def _as_list(value: tuple[Any, ...] | None) -> list[Any] | None:
    return None if value is None else list(value)


def _as_lists(value: list[Any]) -> list[list[Any]]:
    return [list(each) for each in value]


def _by_name(value: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: list(each) for name, each in value.items()}


def _reader(kind: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else kind(*value)


_LISTS = {"stock", "estimate", "odd_cost", "target", "quoted", "decided_on", "early_stock", "bought", "fallback"}
_PLAIN = tuple(name for name in ListingState.__dataclass_fields__ if name != "kept_table")
_WRITERS: tuple[tuple[str, Callable[[Any], Any]], ...] = tuple(
    (
        name,
        _by_name
        if name in ("offers", "requested_on")
        else _as_lists
        if name in ("history", "early_offers")
        else PriceExperience.to_row
        if name == "experience"
        else _as_list
        if name in _LISTS
        else _same,
    )
    for name in _PLAIN
)
_READER_OF: dict[str, Callable[[Any], Any]] = dict.fromkeys(_PLAIN, _same) | {
    "offers": lambda rows: {name: HeldOffer(*row) for name, row in rows.items()},
    "stock": _reader(StockLevel),
    "estimate": _reader(HeldEstimate),
    "odd_cost": lambda row: None if row is None else OddCost(row[0], row[1], row[-1]),
    "history": lambda rows: [PublishedPrice(*row) for row in rows],
    "target": _reader(SaleTarget),
    "quoted": _reader(QuotedPrice),
    "decided_on": _reader(DecidedOn),
    "early_offers": lambda rows: [RivalOffer(*row) for row in rows],
    "early_stock": _reader(StockLevel),
    "bought": _reader(DealCounts),
    "requested_on": lambda rows: {name: RequestedOn(*row) for name, row in rows.items()},
    "experience": PriceExperience.of_row,
    "fallback": tuple,
}
_READERS = (*(_READER_OF[name] for name in _PLAIN), _same)
ROW = (*_PLAIN, "table")
"""Names of a row's values, written beside the rows, since a later version may have more."""
