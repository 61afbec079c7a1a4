"""Refused requests of the quote port as problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from jobs.edge.quoting import Send


async def refusal(send: Send, status: int, detail: str) -> None:
    """Reply with a problem; a missing key is answered with the scheme that is expected."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body = orjson.dumps(problem)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
