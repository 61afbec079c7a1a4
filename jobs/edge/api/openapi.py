"""The OpenAPI document of the quote port, served as ``/v1/openapi.json``."""

from __future__ import annotations

from typing import Any

from jobs.edge.api.models import (
    LISTING,
    BatchReply,
    BatchRequest,
    CartReply,
    CartRequest,
    ProblemDetails,
    Quote,
    Record,
    record_schemas,
)
from jobs.edge.quote_lists import MAX_BODY
from jobs.edge.quote_requests import BATCH, CART, MAX_ID, PREFIX, SERVER_FIELDS
from jobs.runtime.bounded_heads import MAX_HEAD_BYTES

DOCUMENT = "/v1/openapi.json"
_PATH = PREFIX + "{tenant}/{market}/{sku}"
_JSON, _PROBLEM = "application/json", "application/problem+json"
_REF = "#/components/schemas/{model}"
_REFUSALS = {
    400: "the request is invalid",
    401: "no valid access key was presented",
    403: "the key's role or tenant does not include the request",
    404: "the listing is unknown",
    405: "another method is expected",
    411: "the body has no header Content-Length",
    413: f"the body has more than {MAX_BODY} bytes",
    414: "path or query is too long",
    429: "key or address asked for more quotes than its limit, or is probing; Retry-After says when to repeat it",
    431: f"request line and headers have more than {MAX_HEAD_BYTES} bytes",
    500: "an error of the edge, whose log has the reason under the request's id",
    503: "no price is known while Redis does not answer, or the access keys are not known yet",
}
_OF_EVERY = (400, 401, 403, 405, 429, 431, 500, 503)
_OF_A_QUOTE, _OF_A_LIST = (*_OF_EVERY, 404, 414), (*_OF_EVERY, 411, 413)


def openapi() -> dict[str, Any]:
    """Return the document, OpenAPI 3.1.

    >>> sorted(openapi()["paths"])
    ['/v1/quotes/{tenant}/{market}/{sku}', '/v1/quotes:batch', '/v1/quotes:cart']
    """
    names = {"customer": "customer id; may be left out for a guest", "session": "session id"}
    query = [
        _parameter("query", name, text, {"type": "string", "maxLength": MAX_ID}, required=False)
        for name, text in names.items()
    ]
    query.append(_parameter("query", "bot", "1: a robot", {"type": "string", "enum": ["0", "1"]}, required=False))
    path = [
        _parameter(
            "path", name, f"{name} of the listing", {"type": "string", "maxLength": length}, example=example
        )
        for name, length, example in zip(
            ("tenant", "market", "sku"), (64, 64, 128), LISTING.split("/"), strict=True
        )
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Walras quotes",
            "version": "1",
            "description": "Prices for shoppers. Customer or session must be given. The server chooses "
            f"{' and '.join(SERVER_FIELDS)}; a request that names one is refused. Each quote is logged.",
        },
        "paths": {
            _PATH: {"get": {
                "operationId": "quote", "summary": "Price of a listing",
                "parameters": [*path, *query, _request_id()],
                "responses": _responses(Quote, _OF_A_QUOTE),
            }},
            BATCH: {"post": _list("quoteBatch", "Prices of several listings", BatchRequest, BatchReply)},
            CART: {"post": _list("quoteCart", "Prices and totals of a cart", CartRequest, CartReply)},
        },
        "security": [{"accessKey": []}],
        "components": {
            "schemas": record_schemas(_REF),
            "securitySchemes": {"accessKey": {"type": "http", "scheme": "bearer"}},
        },
    }  # fmt: skip


def _parameter(
    where: str, name: str, text: str, schema: dict[str, Any], *, required: bool = True, example: str | None = None
) -> dict[str, Any]:
    given = {"in": where, "name": name, "description": text, "required": required, "schema": schema}
    return given if example is None else {**given, "example": example}


def _request_id() -> dict[str, Any]:
    schema = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
    return _parameter("header", "X-Request-Id", "repeated in the reply", schema, required=False, example="order-7")


def _list(name: str, summary: str, request: type[Record], reply: type[Record]) -> dict[str, Any]:
    return {
        "operationId": name, "summary": summary, "parameters": [_request_id()],
        "requestBody": {"required": True, "content": {_JSON: {"schema": _ref(request)}}},
        "responses": _responses(reply, _OF_A_LIST),
    }  # fmt: skip


def _responses(reply: type[Record], refusals: tuple[int, ...]) -> dict[str, Any]:
    header: dict[str, Any] = {
        "X-Request-Id": {"description": "the request's id", "schema": {"type": "string"}},
        "RateLimit": {"description": "what is left of the key's limit, and when", "schema": {"type": "string"}},
    }
    refused = {"headers": header, "content": {_PROBLEM: {"schema": _ref(ProblemDetails)}}}
    answered = {"description": "answered", "headers": header, "content": {_JSON: {"schema": _ref(reply)}}}
    return {"200": answered} | {
        str(status): {"description": _REFUSALS[status], **refused} for status in sorted(refusals)
    }


def _ref(model: type[Record]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
