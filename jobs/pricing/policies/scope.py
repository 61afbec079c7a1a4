"""PolicyScope: which listings a policy patch concerns, and which of two scopes is narrower."""

from __future__ import annotations

from typing import NamedTuple

from schemas.events import CatalogEntry

FIELDS = ("category", "role", "price_group", "sku")
"""What a scope may select by within a tenant or market, from wide to narrow."""


class ScopeError(ValueError):
    """A text that is no scope; the message names what was expected and what was given."""


class PolicyScope(NamedTuple):
    """A tenant, one of its markets, and at most one selection of listings within them.

    Parameters
    ----------
    tenant : required.
    market : empty for all markets.
    field, value : one of :data:`FIELDS` and the value that a listing's catalog entry must have; empty for all
        listings.

    Examples
    --------
    >>> shoes = PolicyScope.parse("acme/web:category=shoes")
    >>> shoes.text, shoes.rank > PolicyScope.parse("acme/web").rank
    ('acme/web:category=shoes', True)
    """

    tenant: str
    market: str = ""
    field: str = ""
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> PolicyScope:
        """Parse ``tenant``, ``tenant/market``, and either with ``:category=…`` (role, price_group, sku).

        >>> PolicyScope.parse("acme:sku=a=b:c")
        PolicyScope(tenant='acme', market='', field='sku', value='a=b:c')

        Raises
        ------
        ScopeError
            If a part is empty or the field is unknown.
        """
        place, colon, selection = text.partition(":")
        tenant, slash, market = place.partition("/")
        field, _, value = selection.partition("=")
        if not tenant or (slash and not market) or "/" in market or (colon and not (field in FIELDS and value)):
            raise ScopeError(
                "scope: expected tenant or tenant/market, and optionally one of "
                f"{', '.join(f':{name}=…' for name in FIELDS)}; got {text!r}"
            )
        return cls(tenant, market, field, value)

    @property
    def text(self) -> str:
        """The scope as :meth:`parse` reads it."""
        place = "/".join(part for part in (self.tenant, self.market) if part)
        return f"{place}:{self.field}={self.value}" if self.field else place

    @property
    def rank(self) -> tuple[int, int, str]:
        """Order of application: tenant, market, category, role, price group, SKU; one market after all markets."""
        selected = FIELDS.index(self.field) + 2 if self.field else 1 if self.market else 0
        return selected, int(bool(self.market)), self.text

    def covers(self, entry: CatalogEntry) -> bool:
        """Return whether a listing is in the scope."""
        return (
            self.tenant == entry.tenant
            and self.market in ("", entry.market)
            and (not self.field or getattr(entry, self.field) == self.value)
        )

    def may_overlap(self, other: PolicyScope) -> bool:
        """Return whether one listing can be in both scopes.

        >>> one = PolicyScope.parse("acme:category=shoes")
        >>> one.may_overlap(PolicyScope.parse("acme/web:role=kvi")), one.may_overlap(PolicyScope("other"))
        (True, False)
        >>> one.may_overlap(PolicyScope.parse("acme:category=hats"))
        False
        """
        same_place = self.tenant == other.tenant and (
            not self.market or not other.market or self.market == other.market
        )
        return same_place and (self.field != other.field or self.value == other.value)
