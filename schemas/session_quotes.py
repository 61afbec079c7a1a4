"""Quotes that sessions keep: the Redis layout, and when a table still allows a kept price.

A session keeps the first quote of a listing for the session window of the listing's price table::

    HGETALL session:{tenant:<first 2 hex digits of the session's pseudonym>}:<session's pseudonym>

A field names a listing, or the price group whose listings have one price (:attr:`PriceTable.price_scope`). Its
value is a JSON object of the fields of :class:`SessionQuote`. ``until_ms`` is judged by the run's clock; the key
has a TTL of wall time that removes it after its last window.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from schemas.price_table import PriceTable


class SessionQuoteError(ValueError):
    """A text that is no kept quote; the message states the expected and the actual value."""


class SessionQuote(NamedTuple):
    """The price that a session keeps, and the draw that it comes from.

    Parameters
    ----------
    until_ms : end of the window, epoch ms of the run's clock.
    version, table_id, published_ms : of the table from which the price was drawn.
    segment : the customer's segment at that draw.
    price_minor, currency : the price.
    propensity : its probability in that table.

    Examples
    --------
    >>> quote = SessionQuote(2_000, 7, "t1", 500, "all", 1999, "USD", 0.5)
    >>> quote.to_text()
    '{"until_ms":2000,"version":7,"table_id":"t1","published_ms":500,"segment":"all","price_minor":1999,\
"currency":"USD","propensity":0.5}'
    >>> SessionQuote.of_text(quote.to_text()) == quote
    True
    """

    until_ms: int
    version: int
    table_id: str
    published_ms: int
    segment: str
    price_minor: int
    currency: str
    propensity: float

    def to_text(self) -> str:
        """Return the value in Redis; equal quotes give equal texts."""
        # As json.dumps writes it without spaces, in a fifth of its time.
        return (
            f'{{"until_ms":{self.until_ms},"version":{self.version},"table_id":{_quoted(self.table_id)},'
            f'"published_ms":{self.published_ms},"segment":{_quoted(self.segment)},'
            f'"price_minor":{self.price_minor},"currency":{_quoted(self.currency)},'
            f'"propensity":{self.propensity!r}}}'
        )

    @classmethod
    def of_text(cls, text: str) -> SessionQuote:
        """Read :meth:`to_text` back; fields of a later version are left out.

        Raises
        ------
        SessionQuoteError
            If a field is missing or of another type.
        """
        try:
            record = json.loads(text)
            return cls(
                int(record["until_ms"]), int(record["version"]), str(record["table_id"]),
                int(record["published_ms"]), str(record["segment"]), int(record["price_minor"]),
                str(record["currency"]), float(record["propensity"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise SessionQuoteError(f"expected a kept quote as JSON, got {text[:80]!r}: {error!r}") from error

    def is_allowed(self, table: PriceTable, now_ms: int) -> bool:
        """Return whether the session still has the price beside the listing's present table.

        Not after the window, nor when the table has none or has expired. A price of the same prices as the
        table's is kept, and one of a newer table, which another edge has read already. A price of an older table
        is dropped if the hard limits exclude it, or if an operator has set a price since.
        """
        if now_ms >= self.until_ms or now_ms >= table.expires_ms or not table.session_minutes:
            return False
        if self.currency != table.currency:
            return False
        if self.table_id == table.table_id or self.version > table.version:
            return True
        return self.version >= table.session_from_version and table.allows(self.price_minor)


@lru_cache(maxsize=16_384)
def _quoted(text: str) -> str:
    return json.dumps(text)


def session_key(tenant: str, session: str) -> str:
    """Return the Redis key of a session's kept quotes, hash-tagged as a customer's segment is.

    Examples
    --------
    >>> session_key("demo", "9f86d081")
    'session:{demo:9f}:9f86d081'
    """
    return f"session:{{{tenant}:{session[:2]}}}:{session}"
