"""The operator port: the console's page, its data, and the operators' API.

``python -m jobs.console.service`` serves on ``WALRAS_CONSOLE_HOST``:``WALRAS_CONSOLE_PORT``. Every path but
``/healthz`` and those of sign-in needs a key or a session (:mod:`jobs.console.sign_in`). ``/v1/openapi.json``
describes the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import RedirectResponse, Response

from jobs.access import KeyRing, Permission, Principal
from jobs.access.claims import ClaimRoles, ClaimRolesError
from jobs.access.key_files import deployment_signer
from jobs.access.sessions import Sessions
from jobs.access.signatures import CommandKeyError
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
from jobs.runtime.settings import SETTINGS_ERRORS, Settings

log = logging.getLogger(__name__)

MAX_BODY = 65_536
"""Largest body of a request, bytes."""
SAVE_KEYS_EVERY_S = 5.0
"""Wall seconds after which changed keys are written to their file."""
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
    503: "Kafka does not answer or take the record (Retry-After says when to repeat the request), or the port has "
    "not the deployment's key that signs records",
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
    jobs.access.signatures.CommandKeyError
        If the run is no replay and has no public key that verifies the deployment's keys.
    """
    roles = ClaimRoles(settings) if settings.oidc_issuer is not None else None
    provider = Provider(settings, wall_ms) if roles is not None else None
    keys, market_view = ring or new_ring(settings), view or MarketView(settings.kafka)
    store = SharedSessions(settings.redis.get_secret_value(), _session_secret(settings))
    ring_file = RingFile(settings.keys_folder / "ring.json")

    def take(record: Record, live: bool) -> None:
        if record.value is not None:
            keys.take_value(record.json())

    follower = TopicFollower(settings.kafka, {"access_keys": WHOLE_TOPIC}, take)

    async def save_keys() -> None:
        while True:
            await asyncio.sleep(SAVE_KEYS_EVERY_S)
            if follower.caught_up:
                await asyncio.to_thread(ring_file.save, keys)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if follow:
            ring_file.load(keys)
            follower.start()
            market_view.start()
        saving = asyncio.create_task(save_keys())
        yield
        saving.cancel()
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
        return deployment_signer(settings).derived_key("sessions")
    except CommandKeyError as error:
        log.warning(
            "%s; until then this port sends nothing, and its sessions are not shared and end with it", error
        )
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


def main() -> int:
    """Serve until a signal.

    Returns
    -------
    The exit code: 2 after a wrong setting or without the public key that verifies access keys.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        settings = Settings.load()
        app = build(settings)
    except (*SETTINGS_ERRORS, ClaimRolesError, CommandKeyError) as error:
        print(f"console: {error}", file=sys.stderr)
        return 2
    serve(app, settings.console_host, settings.console_port, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
