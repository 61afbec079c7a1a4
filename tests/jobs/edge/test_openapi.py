"""The OpenAPI document: it is valid, has examples, and real replies match it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables
from tests.jobs.edge.edge_builders import NOW, a_table
from tests.jobs.edge.test_quote_lists import BATCH, CART, LISTINGS, LoggedEdge

QUOTE = "/v1/quotes/{tenant}/{market}/{sku}"


@pytest.fixture
def edge(redis_server: Any, tables: RedisPriceTables) -> Iterator[LoggedEdge]:
    tables.publish_many([a_table("sku-0"), a_table("sku-1", expires_ms=NOW)])
    with LoggedEdge(redis_server.url) as client:
        yield client


def check(document: Any, place: Any, value: Any) -> None:
    """Validate a value by a schema of the document; a member that the schema lacks is an error."""
    schemas = json.loads(json.dumps(document["components"]["schemas"]))
    for schema in schemas.values():
        if schema.get("type") == "object":
            schema["additionalProperties"] = False
    schema = {"components": {"schemas": schemas}, **place["schema"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_replies_match_the_document(edge: LoggedEdge) -> None:
    document = edge.get("/v1/openapi.json").json()
    paths = document["paths"]
    for sku, status in (("sku-0", 200), ("sku-1", 200), ("none", 404)):
        reply = edge.get(f"/v1/quotes/acme/web-us-usd/{sku}?customer=c1")
        assert reply.status_code == status
        described = paths[QUOTE]["get"]["responses"][str(status)]
        check(document, described["content"][reply.headers["content-type"]], reply.json())
        assert {name.lower() for name in described["headers"]} <= set(reply.headers)
    listings = [*LISTINGS[:2], "acme/web-us-usd/none"]
    cart = [{"listing": listing, "quantity": 2} for listing in listings]
    for path, body in ((BATCH, {"customer": "c1", "listings": listings}), (CART, {"session": "s", "lines": cart})):
        described = paths[path]["post"]
        check(document, described["requestBody"]["content"]["application/json"], body)
        for sent, status in ((body, 200), ({}, 400)):
            reply = edge.post(path, json=sent)
            assert reply.status_code == status
            content = described["responses"][str(status)]["content"]
            check(document, content[reply.headers["content-type"]], reply.json())


def test_every_field_of_a_record_has_an_example_or_a_default(edge: LoggedEdge) -> None:
    document = edge.get("/v1/openapi.json").json()
    bare = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, described in schema.get("properties", {}).items()
        if not {"examples", "default"} & set(described) and described.get("type") != "array"
        and described != {"type": "boolean"}
    ]  # fmt: skip
    assert bare == ["CartReply.complete"]


def test_examples_match_their_schemas(edge: LoggedEdge) -> None:
    document = edge.get("/v1/openapi.json").json()
    for schema in document["components"]["schemas"].values():
        for described in schema.get("properties", {}).values():
            for example in described.get("examples", ()):
                check(document, {"schema": described}, example)
