"""Replies of both HTTP ports that belong to no route: ids of requests, problem details, and unexpected failures.

A request's id is the caller's ``X-Request-Id`` if it is valid, else a new one. The reply repeats it in the same
header, and a problem has it as ``instance``, so that a caller's log and the port's name one request.

References
----------
.. [1] Nottingham, M., Wilde, E., & Dalal, S. (2023). Problem Details for HTTP APIs. RFC 9457.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from itertools import count
from typing import Any, NamedTuple

import orjson
from starlette.requests import ClientDisconnect

log = logging.getLogger(__name__)

REQUEST_ID = b"x-request-id"
PROBLEM_TYPE = (b"content-type", b"application/problem+json")
NO_STORE = (b"cache-control", b"no-store")
TYPE_PREFIX = "urn:walras:problem:"
INSTANCE_PREFIX = "urn:walras:request:"
MAX_SHOWN = 80
"""Most characters of a path that a log line or a reply repeats."""
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Headers = tuple[tuple[bytes, bytes], ...]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Problem(NamedTuple):
    """Why a request, or a line of one, is refused.

    ``type``: a URN of the kind of problem. ``title``: the same in words. ``status``: HTTP status. ``detail``: what
    was expected, what was given, and what to do.
    """

    type: str
    title: str
    status: int
    detail: str

    @classmethod
    def titled(cls, title: str, status: int, detail: str) -> Problem:
        """Return a problem whose type is its title.

        >>> Problem.titled("Lock expired", 410, "expected a lock that is valid").type
        'urn:walras:problem:lock-expired'
        """
        return cls(TYPE_PREFIX + re.sub(r"[^a-z]+", "-", title.lower()), title, status, detail)

    @classmethod
    def of_status(cls, status: int, detail: str) -> Problem:
        """Return a problem whose title is the phrase of its HTTP status.

        >>> Problem.of_status(404, "expected a known path")[:2]
        ('urn:walras:problem:not-found', 'Not Found')
        """
        return cls.titled(HTTPStatus(status).phrase, status, detail)

    def body(self, request_id: bytes) -> bytes:
        """Return the problem as JSON for the request with this id."""
        return orjson.dumps({**self._asdict(), "instance": INSTANCE_PREFIX + request_id.decode()})


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


REQUEST_IDS = RequestIds()
"""The ids of this process."""


def request_id(scope: Scope) -> bytes:
    """Return the id of a request, the same at every call for one request.

    >>> scope = {"headers": []}
    >>> request_id(scope) == request_id(scope)
    True
    """
    found: bytes | None = scope.get("request_id")
    if found is None:
        found = scope["request_id"] = REQUEST_IDS.of(scope["headers"])
    return found


async def send_problem(scope: Scope, send: Send, problem: Problem, more: Headers = ()) -> None:
    """Reply to a request with a problem.

    Parameters
    ----------
    more : further headers.
    """
    given = request_id(scope)
    body = problem.body(given)
    headers = [PROBLEM_TYPE, (b"content-length", b"%d" % len(body)), NO_STORE, (REQUEST_ID, given), *more]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def answering_failures(app: Application) -> Application:
    """Return an ASGI application that answers an unexpected exception with a problem of status 500.

    The log has the traceback and the request's id; the reply has the id alone. A reply that has begun cannot be
    replaced: the exception then goes on to the server, which closes the connection.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = False

        async def note_start(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, note_start)
        except ClientDisconnect:
            log.debug("request %s: the caller closed the connection", request_id(scope).decode())
        except Exception:
            if started:
                raise
            given = request_id(scope).decode()
            log.exception("request %s failed: %s %r", given, scope["method"], scope["path"][:MAX_SHOWN])
            detail = "an error of this service; its log has the reason under the request's id"
            await send_problem(scope, send, Problem.of_status(HTTPStatus.INTERNAL_SERVER_ERROR, detail))

    return answer
