"""What commands may apply to: the tenants, markets and listings of the catalog topic.

A command for a name that does not exist would be published, and nothing would come of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jobs.connectors.kafka.catalog import read_catalog
from schemas.events import CatalogEntry


class Target(NamedTuple):
    """What a command applies to: a tenant, one of its markets, or one listing."""

    tenant: str
    market: str | None = None
    sku: str | None = None

    @property
    def text(self) -> str:
        """Return ``tenant``, ``tenant/market`` or ``tenant/market/sku``."""
        return "/".join(part for part in self if part)


def unknown_target(target: Target, listings: Iterable[str]) -> str | None:
    """Return why a target cannot be commanded; None where the catalog has a listing of it.

    Parameters
    ----------
    listings : keys of the catalog's listings.

    >>> unknown_target(Target("acme", "web"), ["acme/web/sku-1"]) is None
    True
    >>> unknown_target(Target("acme", "web", "sku-2"), ["acme/web/sku-1"])
    "expected a listing of the catalog, got 'acme/web/sku-2'; the nearest is 'acme/web/sku-1'"
    """
    parts = len(target.text.split("/", 2))
    names = {"/".join(listing.split("/", 2)[:parts]) for listing in listings}
    if target.text in names:
        return None
    kind = ("tenant", "market", "listing")[parts - 1]
    near = difflib.get_close_matches(target.text, sorted(names), n=1)
    hint = f"the nearest is {near[0]!r}" if near else "`walras tables` lists what has a price"
    return f"expected a {kind} of the catalog, got {target.text!r}; {hint}"


def other_currency(target: Target, currency: str, catalog: Mapping[str, CatalogEntry]) -> str | None:
    """Return why an amount in a currency cannot be a price of a listing; None where it can.

    >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True)
    >>> other_currency(Target("acme", "web", "s1"), "EUR", {"acme/web/s1": entry})
    'expected an amount in USD, the currency of acme/web/s1, got EUR'
    """
    entry = catalog.get(target.text)
    if entry is None or entry.currency == currency:
        return None
    return f"expected an amount in {entry.currency}, the currency of {target.text}, got {currency}"


def check_target(bootstrap: str, target: Target, currency: str | None = None) -> str | None:
    """Return why a target cannot be commanded, by the catalog topic; None where it can.

    Parameters
    ----------
    currency : of the command's amount, where its sender stated one.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    """
    catalog = read_catalog(bootstrap)
    unknown = unknown_target(target, catalog)
    return unknown if unknown or currency is None else other_currency(target, currency, catalog)
