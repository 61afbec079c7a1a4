"""Closing the edge's cache ends its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jobs.connectors.redis.async_price_tables import Hint
from jobs.edge.price_cache import PriceCache
from tests.jobs.edge.edge_builders import UNREACHABLE, a_table


def test_close_ends_a_listener_that_ignored_its_first_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """``asyncio.wait_for`` of Python 3.11 ignores a cancellation if its awaitable has just completed."""
    cancelled = 0

    async def hints() -> AsyncIterator[Hint]:
        nonlocal cancelled
        while True:
            try:
                await asyncio.sleep(3600.0)
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled > 1:
                    raise
        yield Hint(a_table().listing, 1)

    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE)
        monkeypatch.setattr(cache._redis, "hints", hints)
        await cache.start()
        await cache.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert cancelled == 2

    asyncio.run(scenario())
