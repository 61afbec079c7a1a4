"""Judgement that needs the catalog: is this listing known, is this money its money?

demand_job judges every record against its own contract, without a look-up. What only the catalog
can tell is judged later, on cells, by one predicate that feature, elasticity and repricing logics
share, so that none of them learns from a cell that another refuses. A refused cell is reported by
feature_job alone (stream ``rejected_cells``): it names listing, currency and minute, and its events
are found in the raw archive (system.md, "Catalog-dependent judgement").

Rules: the batch's catalog entries are taken before its cells are judged; an inactive listing is
known (its late orders still count); the currency must be the entry's to the letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from features.bucket_logic import refuse_other_version
from schemas.codes import RejectCode
from schemas.events import CELL_COUNTS, CatalogEntry, Cell, Listing, Offer


class RefusedCell(NamedTuple):
    """A cell that the catalog refuses, and why."""

    cell: Cell
    code: RejectCode
    expected_currency: str | None


def validate_cell(cell: Cell, catalog: Mapping[str, CatalogEntry]) -> RejectCode | None:
    """UNKNOWN_LISTING, WRONG_CURRENCY, or None for a good cell.

    Parameters
    ----------
    cell : one minute's counts.
    catalog : entries by listing key (``tenant/market/sku``); a :class:`CatalogBook` serves.

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
    """The same judgement of a rival's offer (WRONG_CURRENCY offers are set aside, never converted)."""
    entry = catalog.get(Listing.key_of(offer))
    if entry is None:
        return RejectCode.UNKNOWN_LISTING
    return None if entry.currency == offer.currency else RejectCode.WRONG_CURRENCY


def validate_cells(
    cells: Iterable[Cell], catalog: Mapping[str, CatalogEntry]
) -> tuple[list[Cell], list[RefusedCell]]:
    """Good cells and refused cells, each in the order they came."""
    good: list[Cell] = []
    refused: list[RefusedCell] = []
    for cell in cells:
        code = validate_cell(cell, catalog)
        if code is None:
            good.append(cell)
        else:
            entry = catalog.get(cell.listing.key)
            refused.append(RefusedCell(cell, code, entry.currency if entry else None))
    return good, refused


def refusal_record(refused: RefusedCell, window_end_ms: int) -> dict[str, Any]:
    """The ``rejected_cells`` value: address of the cell, reason, and its counts for the second ledger."""
    cell = refused.cell
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
        "code": refused.code.value,
        "currency": cell.currency,
        "expected_currency": refused.expected_currency,
        **{name: getattr(cell, name) for name in CELL_COUNTS},
    }


class CatalogBook(Mapping[str, CatalogEntry]):
    """The newest catalog entry per listing of a bucket, by event time.

    An entry older than the one held changes nothing; of two with the same event time the later in
    the batch's canonical order (partition, offset) wins.

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
        self._entries: dict[str, CatalogEntry | list[Any]] = {}  # as its values while nobody asked for it

    def observe(self, entry: CatalogEntry) -> bool:
        """Take an entry; answers whether it is now the one held."""
        key = Listing.key_of(entry)
        held = self.get(key)
        if held is not None and held.event_time_ms > entry.event_time_ms:
            return False
        self._entries[key] = entry
        return True

    def __getitem__(self, key: str) -> CatalogEntry:
        entry = self._entries[key]
        if not isinstance(entry, CatalogEntry):
            entry = self._entries[key] = CatalogEntry(*entry)
        return entry

    def get(self, key: str, default: Any = None) -> Any:
        """The entry of a listing key, or ``default``."""
        return self[key] if key in self._entries else default

    def __iter__(self) -> Any:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def snapshot(self) -> dict[str, Any]:
        """Plain data: field names once, then one row per listing in the order they were first seen."""
        held = self._entries.values()
        rows = [[getattr(e, name) for name in _FIELDS] if isinstance(e, CatalogEntry) else list(e) for e in held]
        return {"v": self.version, "fields": list(_FIELDS), "rows": rows}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        refuse_other_version("CatalogBook", self.version, snapshot)
        fields, rows = tuple(snapshot["fields"]), snapshot["rows"]
        where = [fields.index(name) for name in ("tenant", "market", "sku")]
        # An older version's fields are not CatalogEntry's in their order.
        values = rows if fields == _FIELDS else (CatalogEntry(**dict(zip(fields, r, strict=True))) for r in rows)
        self._entries = {"/".join(r[i] for i in where): v for r, v in zip(rows, values, strict=True)}


_FIELDS = tuple(CatalogEntry.__dataclass_fields__)
