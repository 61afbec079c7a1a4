"""Price locks over HTTP.

::

    POST /v1/quotes:lock      {"tenant": …, "market": …, "sku": …, "customer": …}    the quote and its lock's token
    POST /v1/quotes:redeem    {"token": …, "order_id": …}                            uses the lock up once
    GET  /v1/locks/keys                                                              the published keys

``:lock`` quotes as ``GET /v1/quotes/…`` does, and the quote is logged. ``session`` may be given beside or instead
of ``customer``. A lock holds until it expires, whatever happens to the price.

``:redeem`` replies 200 only after Kafka has the redemption. The same order gets the same reply again; another
order gets 409, an expired lock 410, and a token that is no genuine lock 400. A 503 has ``Retry-After``: the order
repeats its request. One order may use several locks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobs.connectors.kafka.redemption_log import KafkaRedemptionLog
from jobs.connectors.redis.redemptions import AsyncRedemptions
from jobs.edge.price_entry import NoPriceError, UnknownListingError
from jobs.edge.problems import problem_of, reply_with
from jobs.edge.quote_requests import PREFIX, ROOT, BadRequestError
from jobs.edge.quoting import Quoting
from jobs.locks.key_file import KeyFile
from jobs.locks.keys import LockKeyError
from jobs.locks.redemption import (
    LockUsedError,
    OrderIdError,
    Redeemer,
    RedemptionLog,
    RedemptionUnavailableError,
)
from jobs.locks.tokens import LockCode, LockError, PriceLock, sign
from jobs.runtime.problems import Problem
from jobs.runtime.settings import Settings

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8_192
"""Longest body of a request, twice as long as the longest token."""
KEYS_MAX_AGE_S = 60
"""Seconds for which a checkout may cache the key set; a new key is published for longer before it signs."""
_NO_STORE = {"cache-control": "no-store"}
LOCK, REDEEM = ROOT + ":lock", ROOT + ":redeem"
LOCK_FIELDS = frozenset({"tenant", "market", "sku", "customer", "session"})
REDEEM_FIELDS = frozenset({"token", "order_id"})


class LockRoutes:
    """The handlers of the lock requests.

    Parameters
    ----------
    quoting : answers the quotes that are locked.
    minutes : how long a lock is valid.
    redemptions : the topic of the redemptions; None: the run's Kafka.
    """

    def __init__(
        self, quoting: Quoting, settings: Settings, minutes: int, redemptions: RedemptionLog | None = None
    ) -> None:
        self._quoting, self._minutes, self._clock = quoting, minutes, settings.run_clock
        self._keys = KeyFile(settings.home)
        self._redeemer = Redeemer(
            self._keys.keys,
            AsyncRedemptions(settings.redis.get_secret_value()),
            redemptions or KafkaRedemptionLog(settings.kafka),
            self._clock.now_ms,
        )
        counter = quoting.metrics.counter
        self._requests = counter(
            "lock_requests", "Requests for price locks, by kind and HTTP status", ["kind", "status"]
        )

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(LOCK, self._counted("lock", self.lock), methods=["POST"]),
            Route(REDEEM, self._counted("redeem", self.redeem), methods=["POST"]),
            Route("/v1/locks/keys", self._counted("keys", self.keys)),
        ]

    async def lock(self, request: Request) -> Response:
        """Quote a price and lock it."""
        given = await read_fields(request, LOCK_FIELDS, required=("tenant", "market", "sku"))
        if (tenant := _tenant(request)) not in ("", given["tenant"]):
            raise BadRequestError(403, f"tenant: expected the key's own, {tenant}")
        listing = f"{given.pop('tenant')}/{given.pop('market')}/{given.pop('sku')}"
        inquiry = request.scope.get("inquiry")
        shopper = self._quoting.shopper(given.get("customer", ""), given.get("session", ""))
        quote = orjson.loads(await self._quoting.answer_shopper(PREFIX + listing, shopper, inquiry))
        now_ms = self._clock.now_ms()
        lock = PriceLock.of_quote(quote, now_ms, self._minutes)
        key = self._keys.keys(now_ms).signing(now_ms)
        content = {
            "token": sign(lock, key), "lock_id": lock.lock_id, "key_id": key.kid, "expires_ms": lock.expires_ms,
            "quote": quote,
        }  # fmt: skip
        return Response(orjson.dumps(content), 200, _NO_STORE, media_type="application/json")

    async def redeem(self, request: Request) -> Response:
        """Use up a lock for an order."""
        given = await read_fields(request, REDEEM_FIELDS, required=("token", "order_id"))
        answer = await self._redeemer.redeem(given["token"], given["order_id"], _tenant(request))
        return Response(orjson.dumps(answer), 200, _NO_STORE, media_type="application/json")

    async def keys(self, request: Request) -> Response:
        """Publish the keys as a JSON Web Key Set."""
        now_ms = self._clock.now_ms()
        headers = {"cache-control": f"public, max-age={KEYS_MAX_AGE_S}"}
        content = orjson.dumps(self._keys.keys(now_ms).key_set(now_ms))
        return Response(content, 200, headers, media_type="application/jwk-set+json")

    def _counted(
        self, kind: str, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
            except REFUSALS as error:
                response = reply_with(request, *refusal(error))
            self._requests.labels(kind, str(response.status_code)).inc()
            return response

        return answer


def _tenant(request: Request) -> str:
    """Return the tenant of the request's key; "" for every tenant."""
    return str(request.scope.get("tenant", ""))


REFUSALS = (
    BadRequestError, UnknownListingError, NoPriceError, LockError, LockKeyError, LockUsedError,
    OrderIdError, RedemptionUnavailableError,
)  # fmt: skip
"""What a handler raises; :func:`refusal` has the reply to each."""


def refusal(error: Exception) -> tuple[Problem, dict[str, str]]:
    """Return the problem of a refused request, and further headers of its reply.

    >>> [refusal(error)[0].status for error in (LockUsedError("x"), UnknownListingError("x"))]
    [409, 404]
    """
    match error:
        case NoPriceError():
            return problem_of(error), {"retry-after": "1"}
        case BadRequestError() | UnknownListingError():
            return problem_of(error), {}
        case LockError(code=LockCode.EXPIRED):
            return Problem.titled("Lock expired", 410, str(error)), {}
        case LockError():
            return Problem.titled("Invalid lock", 400, f"{error.code}: {error}"), {}
        case LockKeyError():
            # The message names a path of this machine, which is for operators alone.
            log.error("price locks: %s", error)
            detail = "expected signing keys that this edge can use, found none; its log has the reason"
            return Problem.titled("No signing keys", 500, detail), {}
        case LockUsedError():
            return Problem.titled("Lock already used", 409, str(error)), {}
        case RedemptionUnavailableError():
            problem = Problem.titled("Redemption not acknowledged", 503, str(error))
            return problem, {"retry-after": str(error.retry_after_s)}
        case OrderIdError():
            return Problem.of_status(400, str(error)), {}
        case _:
            raise error


async def read_fields(request: Request, known: frozenset[str], required: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of a JSON object whose values are texts.

    Raises
    ------
    BadRequestError
        If the body is anything else, has other fields or lacks a required one.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BadRequestError(413, f"expected a body of at most {MAX_BODY_BYTES} bytes")
    try:
        given: Any = orjson.loads(body)
    except ValueError:
        raise BadRequestError(400, f"expected a JSON object with {', '.join(required)}; got no JSON") from None
    if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
        raise BadRequestError(400, f"expected a JSON object of texts with {', '.join(sorted(known))}")
    if unknown := sorted(given.keys() - known):
        raise BadRequestError(
            400, f"expected the fields {', '.join(sorted(known))}; got {', '.join(unknown)[:200]}"
        )
    if missing := [name for name in required if not given.get(name)]:
        raise BadRequestError(400, f"{', '.join(missing)}: expected a text, got none")
    return dict(given)
