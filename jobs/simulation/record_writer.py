"""The lines of a simulated market: JSON exactly as the streams' contracts have it.

Written as text with the listing's constant part prepared once: about 1 µs a line, a third of what
building an object for each would cost. A test decodes every kind of line into its dataclass.
"""

from __future__ import annotations

from typing import Any

import orjson

from jobs.simulation.rivals import Rivals
from jobs.simulation.stock import SimulatedStock
from jobs.simulation.world import World
from schemas.time_units import MINUTES_PER_DAY

Event = tuple[int, int, str, str, bytes]
"""When it reaches the topic (ms), an order among equals, the topic's short name, Kafka key, value."""


def text(value: str) -> str:
    """A string as JSON, quotes included."""
    return orjson.dumps(value).decode()


class RecordWriter:
    """Writes records as bytes; one method per stream. ``tag`` tells an opening's ids from a minute's.

    Parameters
    ----------
    world : whose listings are written.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.listing = [
            f'"tenant":{text(x.tenant)},"market":{text(x.market)},"sku":{text(x.sku)},"price_group":{text(x.sku)}'
            for x in world.listings
        ]
        self.currency = [f'"currency":"{currency}"' for currency in world.currency]

    def _facts(self, i: int) -> dict[str, Any]:
        x = self._world.listings[i]
        return {"tenant": x.tenant, "market": x.market, "sku": x.sku, "price_group": x.sku}

    def offer(self, i: int, r: int, rivals: Rivals, at_ms: int, tag: str = "") -> Event:
        """What rival ``r`` charges for listing ``i`` now."""
        value = {
            "event_id": f"f{tag}{at_ms:x}-{i:x}-{r}", "event_time_ms": at_ms, **self._facts(i),
            "competitor": rivals.names[r], "price_minor": int(rivals.price[i, r]),
            "shipping_minor": int(rivals.shipping[i, r]), "in_stock": bool(rivals.in_stock[i, r]),
            "currency": self._world.currency[i], "pack_size": 1, "source": "simulated",
            "match_confidence": 1.0, "validity_ms": None, "offer_kind": "rival",
        }  # fmt: skip
        return at_ms, (1 << 62) + i * 64 + r, "offers", self._world.keys[i], orjson.dumps(value)

    def stock(self, i: int, stock: SimulatedStock, at_ms: int, order: int | None = None, tag: str = "") -> Event:
        """What is on hand of listing ``i`` now."""
        value = {
            "event_id": f"k{tag}{at_ms:x}-{i:x}", "event_time_ms": at_ms, **self._facts(i),
            "on_hand": stock.on_hand[i], "inbound": stock.inbound[i],
            "lead_time_days": round(float(stock.lead_min[i]) / MINUTES_PER_DAY, 4),
        }  # fmt: skip
        place = (1 << 61) + i if order is None else order
        return at_ms, place, "stock", self._world.keys[i], orjson.dumps(value)

    def catalog(self, i: int, cost_minor: int, at_ms: int, tag: str = "") -> Event:
        """What the shop knows of listing ``i``."""
        world = self._world
        value = {
            "event_id": f"a{tag}{at_ms:x}-{i:x}", "event_time_ms": at_ms, **self._facts(i),
            "category": world.category[i], "role": world.role[i], "currency": world.currency[i],
            "pack_size": 1, "active": True, "cost_minor": cost_minor, "list_minor": int(world.list_minor[i]),
            "floor_minor": int(world.floor_minor[i]), "ceiling_minor": int(world.ceiling_minor[i]),
        }  # fmt: skip
        return at_ms, (1 << 60) + i, "catalog", world.keys[i], orjson.dumps(value)
