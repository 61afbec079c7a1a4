"""Refusals of the quote port as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from jobs.edge.price_entry import NoPriceError, UnknownListingError
from jobs.edge.quote_requests import BadRequestError
from jobs.runtime.problems import (
    MAX_SHOWN,
    REQUEST_ID,
    TYPE_PREFIX,
    Application,
    Problem,
    Receive,
    Scope,
    Send,
    request_id,
)


def problem_of(error: Exception) -> Problem:
    """Return the problem of an exception that a quote raises.

    >>> problem_of(BadRequestError(414, "expected a shorter path")).type
    'urn:walras:problem:request-uri-too-long'
    """
    if isinstance(error, BadRequestError):
        return Problem.of_status(error.status, str(error))
    if isinstance(error, UnknownListingError):
        return Problem.titled(
            "Unknown listing", 404,
            f"no price for {error}: expected a listing of the catalog topic (tenant/market/sku); "
            "a listing has a price from its first catalog entry; `walras tables` lists the price tables",
        )  # fmt: skip
    if isinstance(error, NoPriceError):
        return Problem(
            TYPE_PREFIX + "no-price", "No price known", 503,
            f"no price known for {error}: Redis does not answer or is being rebuilt, and this edge has not "
            "served the listing before; retry, and show the list price meanwhile (/readyz reports readiness)",
        )  # fmt: skip
    raise error


def naming_requests(app: Application) -> Application:
    """Return an ASGI application whose replies have the request's id, and what its key's limit has left."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def name(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = ((REQUEST_ID, request_id(scope)), *scope.get("reply_headers", ()))
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        await app(scope, receive, name)

    return answer


def reply_with(request: Request, problem: Problem, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Return a reply with a problem, for routes of Starlette."""
    more = {"cache-control": "no-store", **headers}
    body = problem.body(request_id(request.scope))
    return Response(body, problem.status, more, media_type="application/problem+json")


async def answer_unserved(request: Request, error: Exception) -> Response:
    """Answer a request that no route serves: 404, or 405 with ``Allow``, as a problem."""
    assert isinstance(error, HTTPException)
    allow = allowed(error)
    found = unserved(error, request.method, request.url.path)
    return reply_with(request, found, {"allow": allow} if allow else {})


def unserved(error: HTTPException, method: str, path: str) -> Problem:
    """Return the problem of a request that no route serves.

    >>> unserved(HTTPException(405, headers={"Allow": "POST"}), "GET", "/v1/quotes:lock").detail
    'expected POST /v1/quotes:lock, got GET'
    >>> unserved(HTTPException(404), "GET", "/v1").detail
    "expected a path of the quote port, such as /v1/openapi.json, which lists the quotes; got '/v1'"
    """
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"expected {allowed(error)} {path}, got {method}"
    else:
        detail = (
            "expected a path of the quote port, such as /v1/openapi.json, which lists the quotes; "
            f"got {path[:MAX_SHOWN]!r}"
        )
    return Problem.of_status(error.status_code, detail)


def allowed(error: HTTPException) -> str:
    """Return the methods that a route takes, sorted; "" where none takes the path."""
    methods = (error.headers or {}).get("Allow", "")
    return ", ".join(sorted(methods.split(", ")))
