"""Every field of every public answer about prices: no cost, belief, propensity or other segment's price.

The fields are listed one by one, so that a new one fails here until it is judged. The values are searched for
numbers that the table holds for the server alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.api.models import RECORDS
from jobs.runtime.pseudonym import pseudonym
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from tests.jobs.access.access_builders import bearer
from tests.jobs.edge.edge_builders import KEY, NOW
from tests.jobs.edge.test_lock_routes import LockClient, edge_at, rebuild

QUOTE = {
    "quote_id", "tenant", "market", "sku", "customer", "session", "segment", "arm", "price_minor", "price",
    "currency", "version", "valid_until_ms", "age_ms", "source", "reason",
}  # fmt: skip
PROBLEM = {"type", "title", "status", "detail"}
PUBLIC_FIELDS = {
    "quote": QUOTE,
    "batch": {"customer", "session", "lines", "listing", "quote", "problem"} | QUOTE | PROBLEM,
    "cart": {
        "customer", "session", "lines", "listing", "quote", "problem", "quantity", "total_minor", "total",
        "totals", "complete",
    } | QUOTE | PROBLEM,
    "lock": {"token", "lock_id", "key_id", "expires_ms", "quote"} | QUOTE,
    "lock's token": {
        "iss", "aud", "sub", "jti", "iat", "exp", "listing", "price_minor", "currency", "version", "quote_id",
    },
    "redemption": {
        "lock_id", "order_id", "redeemed_at_ms", "expires_ms", "tenant", "market", "sku", "customer",
        "price_minor", "currency", "version", "quote_id",
    },
    "refusal": PROBLEM | {"instance"},
}  # fmt: skip
"""Answer → every field that it may have, at any depth."""
SECRET_WORDS = re.compile(
    r"cost|margin|belief|elasticit|propensit|cumulative|shadow|multiplier|floor|ceiling|default_minor|list_minor|"
    r"offer|decision|salt|table_id|prices$|segments$"
)
"""Parts of names that a public field must not have."""

# Numbers that occur nowhere else in an answer.
OWN, OTHER, OWN_OTHER_DRAW, REFERENCE, EXPECTED = 151_515, 272_727, 363_636, 484_848, 595_959
SHARE = 0.987654
TABLE = PriceTable(
    Listing("acme", "web-us-usd", "sku-1"), "sku-1", 1, "t-616161", NOW - 500, NOW + 1000, "USD",
    {"base": {
        "all": PriceList.from_propensities([OWN, OWN_OTHER_DRAW], [SHARE, 1 - SHARE]),
        "myopic": PriceList((OTHER,), (0xFFFFFFFF,)),
        "strategic": PriceList((OTHER + 1,), (0xFFFFFFFF,)),
    }},
    REFERENCE, REFERENCE + 1, f"EVIDENCE orders ×0.7: PUBLISHED shadow 3.2 gain {EXPECTED} cost 70707", "d-818181",
)  # fmt: skip
SECRET_NUMBERS = (OTHER, OTHER + 1, OWN_OTHER_DRAW, REFERENCE, REFERENCE + 1, EXPECTED)
SECRETS = (
    *(str(number) for number in SECRET_NUMBERS), *(f"{number / 100:.2f}" for number in SECRET_NUMBERS),
    "70707", "616161", "818181", "0.98", "98765", "0.01", "4241",
)  # fmt: skip


@pytest.fixture(params=["shop", "browser"])
def edge(
    request: Any, redis_server: Any, tables: RedisPriceTables, broker: str, tmp_path: Path
) -> Iterator[LockClient]:
    tables.publish(TABLE)
    tables.set_segments("acme", {pseudonym(KEY, "m1"): "myopic"})
    with edge_at(NOW, redis_server.url, broker, tmp_path) as client:
        rebuild(client)
        client._http.headers.update(bearer(request.param))
        yield client


def names(value: Any) -> Iterator[str]:
    """Yield the name of every field, at any depth."""
    for each in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from names(each)
    yield from value if isinstance(value, dict) else ()


def answers(edge: LockClient, customer: str) -> dict[str, Any]:
    """Return one decoded answer of each kind, for a customer."""
    listing = "acme/web-us-usd/sku-1"
    who = {"customer": customer}
    lines = [{"listing": listing, "quantity": 1}, {"listing": "acme/web-us-usd/none", "quantity": 1}]
    lock = edge.lock(customer=customer).json()
    return {
        "quote": edge.get(f"/v1/quotes/{listing}", params=who).json(),
        "batch": edge.send("/v1/quotes:batch", who | {"listings": [listing, "acme/web-us-usd/none"]}).json(),
        "cart": edge.send("/v1/quotes:cart", who | {"lines": lines}).json(),
        "lock": lock,
        "lock's token": jwt.decode(lock["token"], options={"verify_signature": False}),
        "redemption": edge.redeem(lock["token"]).json(),
        "refusal": edge.get("/v1/quotes/acme/web-us-usd/none", params=who).json(),
    }


def own_draw() -> str:
    """Return a customer without a segment whose draw gives the first price."""
    return next(name for name in map("c{}".format, range(99)) if TABLE.pick(pseudonym(KEY, name))[0] == OWN)


def test_answers_have_the_listed_fields_and_no_others(edge: LockClient) -> None:
    found = answers(edge, own_draw())
    assert {kind: set(names(answer)) for kind, answer in found.items()} == PUBLIC_FIELDS


def test_answers_hold_no_price_or_number_of_the_server(edge: LockClient) -> None:
    for kind, answer in answers(edge, own_draw()).items():
        shown = {**answer, "token": "", "key_id": ""}
        # Ids of this run are random and may contain any digits.
        text = re.sub(r'"(quote_id|lock_id|jti|customer|session|sub|instance)": ?"[^"]*"', "", json.dumps(shown))
        assert not [secret for secret in SECRETS if secret in text], kind
        assert kind == "refusal" or str(OWN) in text


def test_customer_of_a_segment_sees_its_own_price_alone(edge: LockClient) -> None:
    text = json.dumps(answers(edge, "m1")["batch"])
    assert str(OTHER) in text and str(OTHER + 1) not in text and str(OWN) not in text


def test_expired_table_and_default_price_show_the_list_price_alone(
    edge: LockClient, tables: RedisPriceTables
) -> None:
    tables.publish(replace(TABLE, version=2, expires_ms=NOW - 1))
    found = edge.get("/v1/quotes/acme/web-us-usd/sku-1?customer=m1")
    assert set(found.json()) == QUOTE and found.json()["price_minor"] == REFERENCE
    assert not [price for price in (OWN, OTHER, OWN_OTHER_DRAW) if str(price) in found.text]


def test_headers_of_answers_are_listed(edge: LockClient) -> None:
    reply = edge.get("/v1/quotes/acme/web-us-usd/sku-1?customer=c1")
    assert set(reply.headers) == {"content-type", "content-length", "cache-control", "x-request-id", "ratelimit"}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_documented_fields_have_no_secret_name(record: Any) -> None:
    schema = record.model_json_schema()
    models = (schema, *schema.get("$defs", {}).values())
    found = {name for model in models for name in model.get("properties", ())}
    assert found and not [name for name in found if SECRET_WORDS.search(name)]


def test_listed_fields_have_no_secret_name() -> None:
    assert not [name for fields in PUBLIC_FIELDS.values() for name in fields if SECRET_WORDS.search(name)]
