"""Records of a simulated market as JSON bytes, exactly as the streams' contracts define them.

Lines are formatted as text with the listing's constant part prepared once: about 1 µs a line, a third of the cost
of encoding an object. A test decodes every kind of line into its dataclass.
"""

from __future__ import annotations

from typing import Any

import orjson

from jobs.simulation.rivals import Rivals
from jobs.simulation.stock import SimulatedStock
from jobs.simulation.world import World
from schemas.time_units import MINUTES_PER_DAY

Event = tuple[int, int, str, str, bytes]
"""Time at which it reaches the topic (ms), order among equal times, the topic's short name, Kafka key, value."""


def text(value: str) -> str:
    """Return a string as JSON, with quotes."""
    return orjson.dumps(value).decode()


class RecordWriter:
    """Writes records as bytes; one method per stream.

    The parameter ``tag`` separates the ids of the opening from those of minutes.

    Parameters
    ----------
    world : the assortment.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.listing = [
            f'"tenant":{text(x.tenant)},"market":{text(x.market)},"sku":{text(x.sku)},"price_group":{text(group)}'
            for x, group in zip(world.listings, world.price_group, strict=True)
        ]
        self.currency = [f'"currency":"{currency}"' for currency in world.currency]

    def _facts(self, i: int) -> dict[str, Any]:
        x = self._world.listings[i]
        return {"tenant": x.tenant, "market": x.market, "sku": x.sku, "price_group": self._world.price_group[i]}

    def offer(self, i: int, r: int, rivals: Rivals, at_ms: int, tag: str = "") -> Event:
        """Return the offer record of rival ``r`` for listing ``i`` now."""
        value = {
            "event_id": f"f{tag}{at_ms:x}-{i:x}-{r}", "event_time_ms": at_ms, **self._facts(i),
            "competitor": rivals.names[r], "price_minor": int(rivals.price[i, r]),
            "shipping_minor": int(rivals.shipping[i, r]), "in_stock": bool(rivals.in_stock[i, r]),
            "currency": self._world.currency[i], "pack_size": 1, "source": "simulated",
            "match_confidence": 1.0, "validity_ms": None, "offer_kind": "rival",
        }  # fmt: skip
        return at_ms, (1 << 62) + i * 64 + r, "offers", self._world.keys[i], orjson.dumps(value)

    def stock(self, i: int, stock: SimulatedStock, at_ms: int, order: int | None = None, tag: str = "") -> Event:
        """Return the stock record of listing ``i`` now."""
        value = {
            "event_id": f"k{tag}{at_ms:x}-{i:x}", "event_time_ms": at_ms, **self._facts(i),
            "on_hand": stock.on_hand[i], "inbound": stock.inbound[i],
            "lead_time_days": round(float(stock.lead_min[i]) / MINUTES_PER_DAY, 4),
        }  # fmt: skip
        place = (1 << 61) + i if order is None else order
        return at_ms, place, "stock", self._world.keys[i], orjson.dumps(value)

    def catalog(self, i: int, cost_minor: int, at_ms: int, tag: str = "") -> Event:
        """Return the catalog record of listing ``i``."""
        world = self._world
        value = {
            "event_id": f"a{tag}{at_ms:x}-{i:x}", "event_time_ms": at_ms, **self._facts(i),
            "category": world.category[i], "role": world.role[i], "currency": world.currency[i],
            "pack_size": 1, "active": True, "cost_minor": cost_minor, "list_minor": int(world.list_minor[i]),
            "floor_minor": int(world.floor_minor[i]), "ceiling_minor": int(world.ceiling_minor[i]),
        }  # fmt: skip
        return at_ms, (1 << 60) + i, "catalog", world.listings[i].key, orjson.dumps(value)
