"""One customer sees one price in a whole price group."""

from __future__ import annotations

from jobs.edge.quote_text import RenderedQuotes
from schemas.events import QuoteSource
from schemas.price_table import PriceTable, unit_draw
from tests.jobs.pricing.bucket.test_price_groups import a_group
from tests.jobs.pricing.bucket_builders import NOON_MS, a_command
from tests.jobs.pricing.pricing_builders import a_fact

CUSTOMERS = 1000
SEGMENTS = ("all", "myopic", "strategic")


def shown(table: PriceTable, segment: str, customer: str) -> int:
    """Return the price in the edge's reply, as it renders and picks it."""
    quotes = RenderedQuotes(table, QuoteSource.TABLE.value, "base", segment)
    draw = unit_draw(quotes.salt, customer)
    i = next(i for i, cumulative in enumerate(quotes.cumulative) if cumulative >= draw)
    return int(quotes.replies[i].split('"price_minor":')[1].split(",")[0])


def test_a_thousand_customers_see_one_price_each_in_all_listings_of_a_group() -> None:
    logic, tables = a_group()
    seen: set[int] = set()
    for offset, kind in ((1, "settle"), (2, "rollback"), (3, "settle")):
        tables.take(logic.on_fact(a_fact("commands", a_command(kind), NOON_MS + offset * 7_200_000, offset)))
        for number in range(CUSTOMERS):
            customer, segment = f"c{number:04d}", SEGMENTS[number % 3]
            prices = {table.pick(customer, segment)[0] for table in tables.values()}
            assert len(tables) == 3 and len(prices) == 1
            seen |= prices
        for number in range(0, CUSTOMERS, 50):
            customer, segment = f"c{number:04d}", SEGMENTS[number % 3]
            assert len({shown(table, segment, customer) for table in tables.values()}) == 1
    assert len(seen) > 3, "several prices are shown"
