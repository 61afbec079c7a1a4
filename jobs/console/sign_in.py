"""Who asks the operator port: a key in a header, or a session that a sign-in began.

A session is a cookie that scripts cannot read and other sites cannot send. A request that changes something must
also carry its CSRF token in the header ``X-CSRF-Token``. People sign in with their key, with a link that works
once, or by an OpenID Connect provider (:mod:`jobs.console.provider_sign_in`).
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobs.access import KeyRing, Permission, Principal
from jobs.access.claims import ProviderUser
from jobs.access.key_files import use_code
from jobs.access.keys import digest_of
from jobs.access.sessions import ABSOLUTE_MS, Sessions, csrf_token

BEARER = "bearer "
READING = frozenset({"GET", "HEAD", "OPTIONS"})
SIGN_IN_PAGE = Path(__file__).with_name("sign_in.html")
CSP = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; img-src data:"
PAGE_HEADERS = {"content-security-policy": CSP, "cache-control": "no-store"}
MAX_FIELDS = 4
"""Most fields of the sign-in form that are read."""
BEGIN = "/sign-in/provider"
"""Path that sends a browser to the provider."""


class ConsoleAccess:
    """Checks requests to the operator port.

    Parameters
    ----------
    ring : the deployment's keys.
    sessions : open sessions.
    wall_ms : the wall clock; keys and sessions expire by it.
    codes : folder of the codes that sign in once.
    secure : whether cookies are sent over TLS alone.
    """

    def __init__(
        self, ring: KeyRing, sessions: Sessions, wall_ms: Callable[[], int], codes: Path, *, secure: bool
    ) -> None:
        self.ring, self.sessions, self.secure = ring, sessions, secure
        self._wall_ms, self._codes = wall_ms, codes
        self.cookie = "__Host-walras" if secure else "walras"

    async def holder(self, request: Request) -> tuple[Principal, str | None] | None:
        """Return who asks, and a session's CSRF token, None for a key; None without a valid key or session."""
        given = request.headers.get("authorization", "")
        if given[: len(BEARER)].lower() == BEARER:
            found = self.ring.check(given[len(BEARER) :].strip(), self._wall_ms())
            return None if found is None else (found, None)
        cookie = request.cookies.get(self.cookie, "")
        holder = await self.sessions.find(cookie, self._wall_ms()) if cookie else None
        return None if holder is None else (holder, csrf_token(cookie))

    async def require(self, request: Request, permission: Permission) -> Principal:
        """Return who asks, if it has the permission.

        Raises
        ------
        HTTPException
            401 without a valid key or session, 403 without the permission or the session's CSRF token.
        """
        found = await self.holder(request)
        if found is None:
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "expected Authorization: Bearer <key> with a valid key, or a session; sign in at /sign-in",
                {"www-authenticate": "Bearer"},
            )
        principal, csrf = found
        if not principal.may(permission):
            raise HTTPException(
                HTTPStatus.FORBIDDEN, f"expected a role that may {permission}, got {principal.role}"
            )
        if csrf is not None and request.method not in READING:
            given = request.headers.get("x-csrf-token", "")
            if not secrets.compare_digest(given.encode(), csrf.encode()):
                raise HTTPException(
                    HTTPStatus.FORBIDDEN, "expected the session's token in the header X-CSRF-Token"
                )
        return principal

    async def sign_in(
        self, by: str | ProviderUser, reply: Response | None = None, digest: str | None = None
    ) -> Response:
        """Begin a session in the browser that gets the reply; by default the reply opens the page.

        Parameters
        ----------
        digest : as in :meth:`jobs.access.sessions.Sessions.begin`.
        """
        cookie = await self.sessions.begin(by, self._wall_ms(), digest)
        reply = reply or RedirectResponse("/", HTTPStatus.SEE_OTHER)
        reply.set_cookie(
            self.cookie, cookie, max_age=ABSOLUTE_MS // 1000, httponly=True, samesite="strict", secure=self.secure
        )
        return reply

    async def sign_in_by_key(self, key: str) -> Response | None:
        """Return the reply to a key; None if it is not valid or may not read."""
        text = key.strip()
        found = self.ring.check(text, self._wall_ms())
        if found is None or not found.may(Permission.READ):
            return None
        return await self.sign_in(found.key_id, digest=digest_of(text))

    async def sign_in_by_code(self, code: str) -> Response | None:
        """Return the reply to a code, which is used up; None if it is not valid."""
        key_id = use_code(self._codes, code, self._wall_ms())
        found = key_id and self.ring.holder(key_id, self._wall_ms())
        return await self.sign_in(found.key_id) if found else None


Check = Callable[[Request], Coroutine[Any, Any, Principal]]


def required(permission: Permission) -> Check:
    """Return a dependency of a route: who asks, if it has the permission."""

    async def check(request: Request) -> Principal:
        access: ConsoleAccess = request.app.state.access
        return await access.require(request, permission)

    return check


Form = Callable[..., Response]
"""Returns the sign-in page with a problem, "" for none, and an HTTP status."""


def sign_in_form(provider: str | None) -> Form:
    """Return what renders the sign-in page. ``provider``: name of the provider on its button; None: no button."""
    page = SIGN_IN_PAGE.read_text(encoding="utf-8")
    link = ""
    if provider is not None:
        link = f'  <a class="button" href="{BEGIN}">Sign in with {html.escape(provider)}</a>\n'
    page = page.replace("{provider}", link)

    def form(problem: str = "", status: int = HTTPStatus.OK) -> Response:
        return HTMLResponse(page.replace("{problem}", html.escape(problem)), status, PAGE_HEADERS)

    return form


def sign_in_routes(access: ConsoleAccess, form: Form) -> APIRouter:
    """Return the routes of signing in with a key or a code, and of signing out."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/sign-in")
    async def ask(code: str = "") -> Response:
        if not code:
            return form()
        reply = await access.sign_in_by_code(code)
        return reply or form("This link has been used or is too old.", HTTPStatus.UNAUTHORIZED)

    @routes.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        origin = request.headers.get("origin")
        try:
            given = parse_qs((await request.body()).decode("ascii", "replace"), max_num_fields=MAX_FIELDS)
            sent_from = None if origin is None else urlsplit(origin).netloc
        except ValueError:
            problem = f"Expected a form of at most {MAX_FIELDS} fields from a browser's page."
            return form(problem, HTTPStatus.BAD_REQUEST)
        key = given.get("key", [""])[0]
        if sent_from not in (None, request.headers.get("host")):
            return form("Another site sent this form.", HTTPStatus.FORBIDDEN)
        reply = await access.sign_in_by_key(key)
        return reply or form("This key is not valid, has expired, or may not read.", HTTPStatus.UNAUTHORIZED)

    @routes.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await access.require(request, Permission.READ)
        await access.sessions.end(request.cookies.get(access.cookie, ""))
        reply = Response(status_code=HTTPStatus.NO_CONTENT)
        reply.delete_cookie(access.cookie, httponly=True, samesite="strict", secure=access.secure)
        return reply

    return routes
