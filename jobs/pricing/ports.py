"""PriceTablePort: where price tables are published, with compare-and-set on their version.

Decisions are pure, so they reach Redis through this port. jobs/connectors/redis/price_tables.py implements it;
tests use :class:`InMemoryPriceTables`. The host of RepricingLogic publishes its `tables` outputs through it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.price_table import PriceTable
from schemas.redis_keys import price_key


class PublishResult(NamedTuple):
    """Whether a table was accepted, and the version that is stored now."""

    accepted: bool
    version_now: int


class PriceTablePort(Protocol):
    """Accepts a table if its version is higher than the stored one, or if it repeats the same decision."""

    def publish(self, table: PriceTable) -> PublishResult:
        """Publish with compare-and-set; a repeat of the same decision id is accepted again."""
        ...


@dataclass
class InMemoryPriceTables:
    """The port over a dict: the reference for the Redis script, and a store for tests.

    Examples
    --------
    >>> from schemas.listings import Listing
    >>> from schemas.price_table import PriceList
    >>> def table(version, decision):
    ...     prices = {"base": {"all": PriceList.from_propensities([999], [1.0])}}
    ...     where = Listing("a", "m", "s")
    ...     return PriceTable(where, "s", version, "t1", 0, 9, "USD", prices, 999, None, "", decision)
    >>> tables = InMemoryPriceTables()
    >>> tables.publish(table(5, "d1")), tables.publish(table(4, "d0")).accepted
    (PublishResult(accepted=True, version_now=5), False)
    >>> tables.publish(table(5, "d1")).accepted
    True
    """

    tables: dict[str, PriceTable] = field(default_factory=dict)

    def publish(self, table: PriceTable) -> PublishResult:
        """Take a higher version, or the same decision again."""
        key = price_key(table.listing)
        stored = self.tables.get(key)
        if stored is not None and table.version <= stored.version and table.decision_id != stored.decision_id:
            return PublishResult(False, stored.version)
        if stored is None or table.version >= stored.version:
            self.tables[key] = table
        return PublishResult(True, self.tables[key].version)
