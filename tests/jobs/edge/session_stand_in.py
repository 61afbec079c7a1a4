"""A stand-in for Redis in memory, with the readings and writes of an edge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from jobs.connectors.redis.async_price_tables import Reading
from jobs.connectors.redis.session_quotes import MAX_QUOTES, KeptWrite
from schemas.listings import Listing
from schemas.price_table import PriceTable
from schemas.session_quotes import session_key


class SharedStandIn:
    """Tables, segments and kept quotes that several edges share."""

    def __init__(self) -> None:
        self.tables: dict[Listing, PriceTable] = {}
        self.segments: dict[tuple[str, str], str] = {}
        self.kept: dict[str, dict[str, str]] = {}
        self.reads = 0

    async def read(
        self, visitors: Sequence[tuple[str, str, str]], held: Mapping[Listing, str], wanted: Sequence[Listing]
    ) -> Reading:
        """Return what :meth:`jobs.connectors.redis.async_price_tables.AsyncPriceTables.read` returns."""
        self.reads += 1
        versions = [str(self.tables[listing].version) if listing in self.tables else None for listing in held]
        changed = [listing for listing, version in zip(held, versions, strict=True) if version != held[listing]]
        found = {x: self.tables[x].to_redis() if x in self.tables else {} for x in (*wanted, *changed)}
        return Reading(
            "epoch", [self.segments.get(v[:2]) for v in visitors], versions, found,
            [dict(self.kept.get(session_key(v[0], v[2]), {})) for v in visitors],
        )  # fmt: skip

    async def keep(self, writes: Sequence[KeptWrite], now_ms: int, ttl_ms: int) -> list[str]:
        """Return what :meth:`jobs.connectors.redis.async_price_tables.AsyncPriceTables.keep` returns."""
        answers = []
        for write in writes:
            quotes = self.kept.setdefault(write.key, {})
            held = quotes.get(write.scope)
            if held is not None and held != write.replaced and _ends(held) > now_ms:
                answers.append(held)
                continue
            answers.append("")
            if held is None and len(quotes) >= MAX_QUOTES:
                quotes = self.kept[write.key] = {x: q for x, q in quotes.items() if _ends(q) > now_ms}
            if held is not None or len(quotes) < MAX_QUOTES:
                quotes[write.scope] = write.text
        return answers

    async def close(self) -> None:
        """Do nothing."""


def _ends(text: str) -> int:
    return int(json.loads(text)["until_ms"])
