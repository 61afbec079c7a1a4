"""QuoteAccess: which requests to the quote port are answered. Every one but health presents a key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from jobs.access import EVERY_TENANT, KeyRing, Permission, Principal
from jobs.access.keys import MAX_KEY_LENGTH
from jobs.edge.admission.rate_limits import BYTES_PER_QUOTE, RateLimits
from jobs.edge.quote_requests import PREFIX
from jobs.runtime.problems import Headers, Problem, Receive, Scope, Send, send_problem

BEARER = b"bearer "
MAX_HEADER_BYTES = len(BEARER) + MAX_KEY_LENGTH
"""Longest header that presents a key; a longer one is refused unread."""
MOST_CHECKED = 10_000
"""Presented keys whose check is remembered."""


class QuoteAccess:
    """Checks the key of a request, and its tenant, before the quote port answers.

    A check is remembered by the text of the header until the ring changes, so that an answer costs no hash.

    Parameters
    ----------
    ring : the deployment's keys.
    wall_ms : the wall clock; keys expire by it.
    """

    def __init__(self, ring: KeyRing, wall_ms: Callable[[], float]) -> None:
        self._ring, self._wall_ms = ring, wall_ms
        self._checked: OrderedDict[bytes, Principal] = OrderedDict()
        self._generation = -1

    def holder(self, scope: Scope) -> Principal | None:
        """Return the holder of the key that a request presents; None without a valid one."""
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                given = value
                break
        if len(given) > MAX_HEADER_BYTES:
            return None
        if self._generation != self._ring.generation:
            self._checked.clear()
            self._generation = self._ring.generation
        now_ms = self._wall_ms()
        found = self._checked.get(given)
        if found is not None:
            return found if now_ms < found.expires_ms else None
        if given[: len(BEARER)].lower() != BEARER:
            return None
        found = self._ring.check(given[len(BEARER) :].decode("ascii", "replace").strip(), int(now_ms))
        if found is not None:
            self._checked[given] = found
            if len(self._checked) > MOST_CHECKED:
                self._checked.popitem(last=False)
        return found

    def refusal(self, scope: Scope, permission: Permission = Permission.QUOTE) -> tuple[int, str] | None:
        """Return status and reason where a request is not answered; None where it is.

        The scope of a request with a valid key then has the ``key_id`` of its key, the ``tenant`` whose listings
        it may ask for, "" for every tenant, and, if the request is answered, ``public`` if the key is used outside
        the shop's servers.
        """
        found = self.holder(scope)
        if found is None and not self._ring.generation:
            return 503, "the keys of this deployment are not known yet; retry in a second"
        if found is None:
            return (
                401,
                "expected the header Authorization: Bearer <key> with a valid key; `walras keys issue` makes one",
            )
        scope["tenant"], scope["key_id"] = found.tenant, found.key_id
        if not found.may(permission):
            return 403, f"expected a key whose role may {permission}; this one's is {found.role}"
        path: str = scope["path"]
        # A path without tenant, market and SKU gets 400 later, which says what is expected.
        if (
            found.tenant
            and path.startswith(PREFIX)
            and not path.startswith(f"{PREFIX}{found.tenant}/")
            and (path.count("/", len(PREFIX)) > 1)
        ):
            return 403, f"expected a listing of the key's tenant {found.tenant}"
        if found.public:
            scope["public"] = True
        return None

    def refusal_of_whole_run(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and reason where a request may not see counts of all tenants; None where it may."""
        refused = self.refusal(scope, Permission.READ)
        if refused is None and scope["tenant"] != EVERY_TENANT:
            return 403, f"expected a key of every tenant, got one of {scope['tenant']}: the counts are of all"
        return refused


def protected(
    app: Callable[..., Any],
    access: QuoteAccess,
    limits: RateLimits,
    examine: Callable[[Scope], Awaitable[int | None]],
) -> Callable[[Scope, Receive, Send], Any]:
    """Return an ASGI application that answers requests with a valid key, within the limits of key and address.

    The scope of a request with a valid key then has ``reply_headers``, which tell the caller about its limit. A
    body counts by its length, so that a POST must state it.

    Parameters
    ----------
    examine : called with the scope of a public key's request; returns None, or the seconds after which the request
        may be repeated where it is refused (:func:`jobs.edge.admission.slowing.examination`).
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        found, more = access.refusal(scope), Headers()
        length = _body_length(scope)
        if found is None and length is None and scope["method"] == "POST":
            found = (411, "expected a body with the header Content-Length, by which it counts against the limit")
        key_id, client = scope.get("key_id", ""), scope.get("client")
        wait_s = limits.over(key_id, client[0] if client else "", 1 + (length or 0) // BYTES_PER_QUOTE)
        if wait_s is None and found is None and "public" in scope:
            wait_s = await examine(scope)
        if wait_s is not None and (found is None or found[0] == HTTPStatus.UNAUTHORIZED):
            found = (429, f"expected fewer requests; repeat this one in {wait_s} s")
            more = ((b"retry-after", b"%d" % wait_s), *limits.policy())
        if key_id:
            scope["reply_headers"] = limits.headers(key_id)
        if found is None:
            await app(scope, receive, send)
            return
        if found[0] == HTTPStatus.UNAUTHORIZED:
            more = (*more, (b"www-authenticate", b"Bearer"))
        await send_problem(scope, send, Problem.of_status(*found), (*more, *scope.get("reply_headers", ())))

    return answer


def _body_length(scope: Scope) -> int | None:
    """Return the length of a request's body in bytes, 0 for GET; None where the request does not state it."""
    if scope["method"] == "GET":
        return 0
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else None
