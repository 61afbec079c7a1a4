"""Price tables on a real, ready Redis."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables


@pytest.fixture
def tables(redis_server: Any) -> RedisPriceTables:
    tables = RedisPriceTables(redis_server.url)
    tables.mark_ready("epoch-1")
    return tables
