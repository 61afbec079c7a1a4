"""Refusals as problem details (RFC 9457), and the ids of requests.

A request's id is the caller's ``X-Request-Id`` if it is valid, else a new one. The reply repeats it in the same
header, and a problem has it as ``instance``, so that a caller's log and the edge's name one request.

References
----------
.. [1] Nottingham, M., Wilde, E., & Dalal, S. (2023). Problem Details for HTTP APIs. RFC 9457.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from itertools import count
from typing import NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from jobs.edge.price_entry import NoPriceError, UnknownListingError
from jobs.edge.quote_requests import BadRequestError

REQUEST_ID = b"x-request-id"
PROBLEM_TYPE = (b"content-type", b"application/problem+json")
TYPE_PREFIX = "urn:walras:problem:"
INSTANCE_PREFIX = "urn:walras:request:"
MAX_SHOWN = 80
"""Most characters of an unknown path that the reply repeats."""
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Problem(NamedTuple):
    """Why a request, or a line of one, has no quote.

    ``type``: a URN of the kind of problem. ``title``: the same in words. ``status``: HTTP status. ``detail``: what
    was expected, what was given, and what to do.
    """

    type: str
    title: str
    status: int
    detail: str

    def body(self, request_id: bytes) -> bytes:
        """Return the problem as JSON for the request with this id."""
        return orjson.dumps({**self._asdict(), "instance": INSTANCE_PREFIX + request_id.decode()})


def problem_of(error: Exception) -> Problem:
    """Return the problem of an exception that a quote raises.

    >>> problem_of(BadRequestError(414, "expected a shorter path")).type
    'urn:walras:problem:request-uri-too-long'
    """
    if isinstance(error, BadRequestError):
        title = HTTPStatus(error.status).phrase
        kind = re.sub(r"[^a-z]+", "-", title.lower())
        return Problem(TYPE_PREFIX + kind, title, error.status, str(error))
    if isinstance(error, UnknownListingError):
        return Problem(
            TYPE_PREFIX + "unknown-listing", "Unknown listing", 404,
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


def problem(status: int, title: str, detail: str, path: str) -> Response:
    """Return a reply with a problem, for routes of Starlette.

    Parameters
    ----------
    title : the kind of the problem, the same for all requests.
    path : path of the request, which is the problem's instance.

    >>> problem(409, "lock already used", "expected one order", "/v1/quotes:redeem").status_code
    409
    """
    found = Problem(TYPE_PREFIX + re.sub(r"[^a-z]+", "-", title.lower()), title, status, detail)
    content = orjson.dumps(found._asdict() | {"instance": path})
    return Response(content, status, {"cache-control": "no-store"}, media_type="application/problem+json")


class RequestIds:
    """The ids of a process' requests.

    Examples
    --------
    >>> ids = RequestIds()
    >>> ids.of([(b"host", b"edge"), (b"x-request-id", b"order-7")])
    b'order-7'
    >>> ids.of([(b"x-request-id", b"no spaces, please")]) != ids.of([])
    True
    """

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8).encode()
        self._number = count()

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the valid id of a request's headers, else a new one."""
        for name, value in headers:
            if name == REQUEST_ID and _VALID_ID.fullmatch(value):
                return value
        return b"r-%b-%x" % (self._prefix, next(self._number))


def unserved_handler() -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return Starlette's handler of requests that no route serves: 404, or 405 with ``Allow``, as problems."""
    request_ids = RequestIds()

    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        request_id = request_ids.of(request.scope["headers"])
        found = unserved(error, request.method, request.url.path)
        headers = {"cache-control": "no-store", REQUEST_ID.decode(): request_id.decode()}
        if allow := allowed(error):
            headers["allow"] = allow
        return Response(found.body(request_id), found.status, headers, media_type="application/problem+json")

    return answer


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
    return problem_of(BadRequestError(error.status_code, detail))


def allowed(error: HTTPException) -> str:
    """Return the methods that a route takes, sorted; "" where none takes the path."""
    methods = (error.headers or {}).get("Allow", "")
    return ", ".join(sorted(methods.split(", ")))
