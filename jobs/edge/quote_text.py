"""Quotes rendered as text: what all customers of a table's arm and segment share is rendered once.

Two customers' replies and log records differ in five short values only. Rendering the other dozen once per table
instead of once per quote saves a third of a quote's cost. The inserted values are hexadecimal or numbers and need
no escaping; everything else is encoded as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from schemas.events import QuoteSource
from schemas.listings import group_key
from schemas.money import EXPONENTS
from schemas.price_table import FULL, PriceTable
from schemas.public_texts import SHOPPER_CAUSES

LIST = QuoteSource.LIST.value


def public_reason(reason: str, source: str) -> str:
    """Return the reason for shoppers, by the cause with which a table's reason begins.

    >>> public_reason("RIVAL_MOVED shop-b -12%", "table"), public_reason("anything", "list")
    ('market prices have changed', 'list price')
    """
    if source == LIST:
        return "list price"
    return SHOPPER_CAUSES.get(reason.split(" ", 1)[0].rstrip(":;,"), "current price")


@lru_cache(maxsize=65_536)
def amount(minor: int, currency: str) -> str:
    """Return an amount in major units, without the currency.

    >>> amount(1999, "USD"), amount(500, "JPY"), amount(5, "USD")
    ('19.99', '500', '0.05')
    """
    digits = EXPONENTS[currency]
    if not digits:
        return str(minor)
    whole, rest = divmod(minor, 10**digits)
    return f"{whole}.{rest:0{digits}d}"


class RenderedQuotes:
    """The quotes of one table, source, arm and segment: the price of each draw, and the text around it.

    ``cumulative`` and ``salt`` belong to the pick (schemas.price_table). ``replies`` and ``records`` hold, per
    price, the text after the session in the reply and in the log record.

    Examples
    --------
    >>> from schemas.listings import Listing
    >>> from schemas.price_table import PriceList
    >>> table = PriceTable(Listing("t", "m", "s"), "s", 7, "t1", 0, 500, "USD",
    ...     {"base": {"all": PriceList((900,), (FULL,))}}, 1000, None, "why", "d1")
    >>> quotes = RenderedQuotes(table, "table", "base", "all")
    >>> quotes.reply(0, "q-1", "c", "s", 20)
    b'{"quote_id":"q-1","customer":"c","session":"s","age_ms":20,"tenant":"t","market":"m","sku":"s","segment":"all",\
"arm":"base","price_minor":900,"price":"9.00","currency":"USD","version":7,"valid_until_ms":500,"source":"table",\
"reason":"current price"}'
    """

    __slots__ = ("cumulative", "group", "published_ms", "records", "replies", "salt", "table")

    def __init__(self, table: PriceTable, source: str, arm: str, segment: str) -> None:
        self.group = group_key(table.listing.tenant, table.listing.market, table.price_group)
        self.table = table
        self.published_ms = table.published_ms
        if source == LIST:
            self.salt = f"list-{table.list_minor}"
            self.cumulative: tuple[int, ...] = (FULL,)
            picks = [(table.list_minor, 1.0)]
        else:
            prices = table.price_list(arm, segment)
            self.salt, self.cumulative = table.table_id, prices.cumulative
            picks = [prices.pick(draw) for draw in prices.cumulative]
        who = {"tenant": table.listing.tenant, "market": table.listing.market, "sku": table.listing.sku}
        self.replies: list[str] = []
        self.records: list[str] = []
        for price, propensity in picks:
            self.replies.append(_rest({
                **who, "segment": segment, "arm": arm, "price_minor": price,
                "price": amount(price, table.currency), "currency": table.currency, "version": table.version,
                "valid_until_ms": table.expires_ms if source != LIST else None, "source": source,
                "reason": public_reason(table.reason, source),
            }))  # fmt: skip
            self.records.append(_rest({
                **who, "price_group": table.price_group, "segment": segment, "arm": arm, "price_minor": price,
                "currency": table.currency, "propensity": propensity, "table_id": self.salt,
                "version": table.version, "source": source, "offer_minor": table.offer_minor,
            }))  # fmt: skip

    def reply(self, i: int, quote_id: str, customer: str, session: str, age_ms: int) -> bytes:
        """Return the public reply for price ``i``; ids are hexadecimal."""
        return (
            f'{{"quote_id":"{quote_id}","customer":"{customer}","session":"{session}",'
            f'"age_ms":{age_ms},{self.replies[i]}'
        ).encode()

    def record(self, i: int, quote_id: str, customer: str, session: str, at_ms: int, bot: bool) -> bytes:
        """Return the quotes topic's record for price ``i``."""
        return (
            f'{{"event_id":"{quote_id}","event_time_ms":{at_ms},"customer":"{customer}","session":"{session}",'
            f'"bot":{"true" if bot else "false"},{self.records[i]}'
        ).encode()


def _rest(fields: Mapping[str, Any]) -> str:
    # Without the opening brace: this text continues another object.
    return orjson.dumps(fields).decode()[1:]
