"""Replies to refused requests as problem details (RFC 9457)."""

from __future__ import annotations

import orjson
from starlette.responses import Response


def problem(status: int, title: str, detail: str, instance: str) -> Response:
    """Return a reply of type ``application/problem+json``.

    Parameters
    ----------
    title : the kind of the problem, the same for all requests.
    detail : what was expected, what was given, and what to do.
    instance : path of the request.

    >>> problem(409, "lock already used", "expected one order", "/v1/quotes:redeem").status_code
    409
    """
    content = {"status": status, "title": title, "detail": detail, "instance": instance}
    headers = {"cache-control": "no-store"}
    return Response(orjson.dumps(content), status, headers, media_type="application/problem+json")
