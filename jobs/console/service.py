"""The operator port: the console's page, its data, and the operators' API.

``python -m jobs.console.service`` serves on ``WALRAS_CONSOLE_HOST``:``WALRAS_CONSOLE_PORT``. Every path but
``/healthz`` and those of sign-in needs a key or a session (:mod:`jobs.console.sign_in`). ``/v1/openapi.json``
describes the API.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import RedirectResponse, Response

from jobs.access import KeyRing, Permission, Principal
from jobs.access.claims import ClaimRoles
from jobs.access.sessions import Sessions
from jobs.access.signatures import Signer
from jobs.connectors.kafka.access_keys import RingFile, new_ring, wall_ms
from jobs.connectors.kafka.following import TopicFollower
from jobs.connectors.kafka.reading import WHOLE_TOPIC, Record
from jobs.connectors.openid.provider import Provider
from jobs.connectors.redis.shared_sessions import SharedSessions
from jobs.console.market_view import MarketView
from jobs.console.operator_api import operator_routes
from jobs.console.page import page_routes
from jobs.console.provider_sign_in import provider_routes
from jobs.console.sign_in import ConsoleAccess, required, sign_in_form, sign_in_routes
from jobs.runtime.bounded_heads import MAX_HEAD_BYTES
from jobs.runtime.problems import answering_failures
from jobs.runtime.serving import serve
from jobs.runtime.settings import Settings

log = logging.getLogger(__name__)

MAX_BODY = 65_536
"""Largest body of a request, bytes."""
HEADERS = {
    "x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}  # fmt: skip
"""Headers of every reply that does not set them itself."""

_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}  # fmt: skip
_PROBLEM_TEXTS = {
    400: "the body is no JSON",
    401: "no valid key or session was presented",
    403: "the role, tenant or CSRF token does not include the request",
    404: "no such listing or key, or it belongs to another tenant",
    405: "another method is expected",
    409: "the key is revoked or has expired",
    411: "the body has no header Content-Length",
    413: f"the body has more than {MAX_BODY} bytes",
    422: "the request is invalid; the detail names the field",
    431: f"request line and headers have more than {MAX_HEAD_BYTES} bytes",
    500: "an error of the port, whose log has the reason under the request's id",
    503: "Kafka does not take the record; Retry-After says when to repeat the request",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": _PROBLEM_SCHEMA}}
        | ({"application/json": {"schema": {"type": "object"}}} if status == HTTPStatus.NOT_FOUND else {}),
    }
    for status, text in _PROBLEM_TEXTS.items()
}
"""What a request may be refused with, for the OpenAPI document; an unknown listing's explanation is JSON."""


def build(
    settings: Settings, *, follow: bool = True, ring: KeyRing | None = None, view: MarketView | None = None
) -> FastAPI:
    """Return the operator port's application.

    Parameters
    ----------
    follow : follow Kafka; False in tests without a broker.
    ring : keys that are accepted; None: those of the deployment.
    view : data of the page; None: followed from Kafka.

    Raises
    ------
    jobs.access.claims.ClaimRolesError
        If the roles of the provider's claim cannot be used.
    """
    roles = ClaimRoles(settings) if settings.oidc_issuer is not None else None
    provider = Provider(settings, wall_ms) if roles is not None else None
    store = SharedSessions(settings.redis.get_secret_value(), _session_secret(settings))
    keys, market_view = ring or new_ring(settings), view or MarketView(settings.kafka)
    ring_file = RingFile(settings.keys_folder / "ring.json")

    def take(record: Record, live: bool) -> None:
        keys.take_value(record.json())

    follower = TopicFollower(settings.kafka, {"access_keys": WHOLE_TOPIC}, take)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if follow:
            ring_file.load(keys)
            follower.start()
            market_view.start()
        yield
        follower.close()
        market_view.close()
        await store.close()
        if provider is not None:
            await provider.close()

    app = FastAPI(
        title="Walras: operators' API",
        version="1",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    secure = settings.console_address.startswith("https://")
    sessions = Sessions(keys, roles, store)
    app.state.access = access = ConsoleAccess(
        keys, sessions, wall_ms, settings.keys_folder / "codes", secure=secure
    )
    form = sign_in_form(settings.oidc_name if provider is not None else None)
    app.include_router(sign_in_routes(access, form))
    if provider is not None and roles is not None:
        app.include_router(provider_routes(access, provider, roles, form))
    app.include_router(page_routes(market_view, settings), responses=PROBLEMS)
    app.include_router(operator_routes(settings), responses=PROBLEMS)
    app.add_middleware(answering_failures)
    app.add_exception_handler(StarletteHTTPException, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/openapi.json", include_in_schema=False)
    async def openapi(who: Annotated[Principal, Depends(required(Permission.READ))]) -> dict[str, Any]:
        return app.openapi()

    @app.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0")
        if request.method not in ("GET", "HEAD") and not (length.isdigit() and int(length) <= MAX_BODY):
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {MAX_BODY} bytes")
        if "transfer-encoding" in request.headers:
            return problem(HTTPStatus.LENGTH_REQUIRED, "expected a body with the header Content-Length")
        reply = await call_next(request)
        for name, value in HEADERS.items():
            reply.headers.setdefault(name, value)
        return reply

    return app


def _session_secret(settings: Settings) -> bytes:
    """Return what authenticates shared sessions: from the signing key, without it one of this process alone."""
    try:
        return Signer(settings.signing_key_file).derived_key("sessions")
    except OSError as error:
        log.warning(
            "%s: expected the key that signs commands (%s); sessions end with this process, and are not shared",
            settings.signing_key_file, error.strerror,
        )  # fmt: skip
        return secrets.token_bytes(32)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return problem details (RFC 9457)."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(orjson.dumps(content), status, headers, media_type="application/problem+json")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    wants_page = "text/html" in request.headers.get("accept", "") and request.url.path == "/"
    if error.status_code == HTTPStatus.UNAUTHORIZED and wants_page:
        return RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    return problem(error.status_code, str(error.detail), dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, found)


def main() -> None:
    """Serve until a signal."""
    settings = Settings.load()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    serve(build(settings), settings.console_host, settings.console_port, settings)


if __name__ == "__main__":
    main()
