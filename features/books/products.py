"""Checks that need the catalog: whether a listing is known and whether a currency is the listing's.

demand_job checks every record against its own contract, without a look-up. Checks that need the catalog are made
later, on cells, by one function that the feature, elasticity and repricing logics share, so that all of them use
the same cells. Only feature_job reports a rejected cell (stream ``rejected_cells``). The report contains listing,
currency and minute, by which the cell's events are found in the raw archive (architecture, "Streams").

Rules: the batch's catalog entries are applied before its cells are checked; an inactive listing is known, because
its late orders still count; the currency must equal the entry's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from features.bucket_logic import refuse_other_version
from schemas.codes import RejectCode
from schemas.events import CatalogEntry, Offer
from schemas.listings import Listing
from schemas.records.counts import CELL_COUNTS, Cell


class CellRejection(NamedTuple):
    """A cell that the catalog check rejects, and the reason."""

    cell: Cell
    code: RejectCode
    expected_currency: str | None


def validate_cell(cell: Cell, catalog: Mapping[str, CatalogEntry]) -> RejectCode | None:
    """Return UNKNOWN_LISTING, WRONG_CURRENCY, or None for a valid cell.

    Parameters
    ----------
    cell : one minute's counts.
    catalog : entries by listing key (``tenant/market/sku``), for example a :class:`CatalogBook`.

    Examples
    --------
    >>> cell = Cell("acme", "web", "s1", "s1", "base", "all", 999, "USD")
    >>> validate_cell(cell, {})
    <RejectCode.UNKNOWN_LISTING: 'UNKNOWN_LISTING'>
    """
    entry = catalog.get(Listing.key_of(cell))
    if entry is None:
        return RejectCode.UNKNOWN_LISTING
    return None if entry.currency == cell.currency else RejectCode.WRONG_CURRENCY


def validate_offer(offer: Offer, catalog: Mapping[str, CatalogEntry]) -> RejectCode | None:
    """Return UNKNOWN_LISTING, WRONG_CURRENCY, or None for a valid offer; currencies are never converted."""
    entry = catalog.get(Listing.key_of(offer))
    if entry is None:
        return RejectCode.UNKNOWN_LISTING
    return None if entry.currency == offer.currency else RejectCode.WRONG_CURRENCY


def validate_cells(
    cells: Iterable[Cell], catalog: Mapping[str, CatalogEntry]
) -> tuple[list[Cell], list[CellRejection]]:
    """Return the valid and the rejected cells, each in the given order."""
    valid: list[Cell] = []
    rejected: list[CellRejection] = []
    for cell in cells:
        code = validate_cell(cell, catalog)
        if code is None:
            valid.append(cell)
        else:
            entry = catalog.get(cell.listing.key)
            rejected.append(CellRejection(cell, code, entry.currency if entry else None))
    return valid, rejected


def rejected_cell_record(rejected: CellRejection, window_end_ms: int) -> dict[str, Any]:
    """Return the ``rejected_cells`` value: identity of the cell, reason, and its counts for the second ledger."""
    cell = rejected.cell
    return {
        "listing": cell.listing.key,
        "tenant": cell.tenant,
        "market": cell.market,
        "sku": cell.sku,
        "price_group": cell.price_group,
        "arm": cell.arm,
        "segment": cell.segment,
        "price_minor": cell.price_minor,
        "window_end_ms": window_end_ms,
        "code": rejected.code.value,
        "currency": cell.currency,
        "expected_currency": rejected.expected_currency,
        **{name: getattr(cell, name) for name in CELL_COUNTS},
    }


class CatalogBook(Mapping[str, CatalogEntry]):
    """Newest catalog entry per listing of a bucket, by event time.

    An entry older than the stored one changes nothing. Of two entries with the same event time the later one in
    the batch's canonical order (partition, offset) is stored.

    Examples
    --------
    >>> book = CatalogBook()
    >>> book.observe(CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True))
    True
    >>> list(book)
    ['acme/web/s1']
    """

    version = 1

    def __init__(self) -> None:
        self._entries: dict[str, CatalogEntry | list[Any]] = {}  # a list of field values until first read

    def observe(self, entry: CatalogEntry) -> bool:
        """Store an entry; return whether it is now the newest one."""
        key = Listing.key_of(entry)
        held = self.get(key)
        if held is not None and held.event_time_ms > entry.event_time_ms:
            return False
        self._entries[key] = entry
        return True

    def __getitem__(self, key: str) -> CatalogEntry:
        """Return the entry of a listing key."""
        entry = self._entries[key]
        if not isinstance(entry, CatalogEntry):
            entry = self._entries[key] = CatalogEntry(*entry)
        return entry

    def get(self, key: str, default: Any = None) -> Any:
        """Return the entry of a listing key, or ``default``."""
        return self[key] if key in self._entries else default

    def __iter__(self) -> Any:
        """Iterate over the listing keys."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return the number of listings."""
        return len(self._entries)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: field names once, then one row per listing in order of first observation.

        The last field, the tags, is left out where no listing has any.
        """
        held = self._entries.values()
        rows = [[getattr(e, name) for name in _FIELDS] if isinstance(e, CatalogEntry) else list(e) for e in held]
        width = len(_FIELDS) - (not any(row[-1] for row in rows if len(row) == len(_FIELDS)))
        rows = [[*row, *[None] * (width - len(row))][:width] for row in rows]
        return {"v": self.version, "fields": list(_FIELDS[:width]), "rows": rows}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("CatalogBook", self.version, snapshot)
        fields, rows = tuple(snapshot["fields"]), snapshot["rows"]
        where = [fields.index(name) for name in ("tenant", "market", "sku")]
        # Older snapshots may have other fields, or the same fields in another order.
        known = fields == _FIELDS[: len(fields)]
        values = rows if known else (CatalogEntry(**dict(zip(fields, r, strict=True))) for r in rows)
        self._entries = {"/".join(r[i] for i in where): v for r, v in zip(rows, values, strict=True)}


_FIELDS = tuple(CatalogEntry.__dataclass_fields__)
