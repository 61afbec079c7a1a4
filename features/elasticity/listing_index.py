"""ListingIndex: the listings of a bucket in the order of their first catalog entry, with their newest entries."""

from __future__ import annotations

from features.books.products import CatalogBook
from schemas.events import CatalogEntry
from schemas.listings import Listing


class ListingIndex:
    """Numbers of a bucket's listings. All statistics per listing are arrays in this order.

    Examples
    --------
    >>> listings = ListingIndex()
    >>> entry = CatalogEntry("e", 1, "acme", "web-us-usd", "s1", "s1", "toys", "margin", "USD", 1, True)
    >>> listings.observe(entry), listings.observe(entry)
    (True, False)
    >>> listings.number["acme/web-us-usd/s1"], listings.category_key(0)
    (0, ('acme', 'toys'))
    """

    def __init__(self) -> None:
        self.catalog = CatalogBook()
        self.number: dict[str, int] = {}
        self.keys: list[str] = []

    def __len__(self) -> int:
        """Return the number of listings."""
        return len(self.keys)

    def observe(self, entry: CatalogEntry) -> bool:
        """Store a catalog entry; return whether its listing is new."""
        key = Listing.key_of(entry)
        self.catalog.observe(entry)
        if key in self.number:
            return False
        self.number[key] = len(self.keys)
        self.keys.append(key)
        return True

    def entry(self, i: int) -> CatalogEntry:
        """Return the newest catalog entry of a listing."""
        return self.catalog[self.keys[i]]

    def category_key(self, i: int) -> tuple[str, str]:
        """Return tenant and category of a listing."""
        entry = self.entry(i)
        return entry.tenant, entry.category
