"""Sign-in by an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

    GET /sign-in/provider     send the browser to the provider
    GET /sign-in/callback     take the provider's answer, and begin a session

The secret of an attempt is in a cookie of its own until the provider answers. The session that begins is the one
of :mod:`jobs.console.sign_in`; no token of the provider is kept.
"""

from __future__ import annotations

import logging
import re
import secrets
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobs.access.claims import ClaimRoles, RefusedUserError
from jobs.connectors.openid.attempts import SignInAttempt, new_secret
from jobs.connectors.openid.id_tokens import InvalidTokenError
from jobs.connectors.openid.provider import CALLBACK, Provider, RefusedCodeError
from jobs.connectors.openid.replies import ProviderReplyError, ProviderUnreachableError
from jobs.console.sign_in import BEGIN, PAGE_HEADERS, ConsoleAccess, Form

log = logging.getLogger(__name__)

ATTEMPT_S = 600
"""Wall seconds for which a browser keeps an attempt's secret."""
SIGNED_IN = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>Walras</title></head>
<body><p>Signed in. <a href="/">Open the console</a></p></body></html>
"""
"""Opens the console. A redirect would not do: browsers count it as a request of the provider's site, and do not
send a ``SameSite=Strict`` cookie with it."""
BY_KEY = "Sign-in with an access key works."


def provider_routes(access: ConsoleAccess, provider: Provider, roles: ClaimRoles, form: Form) -> APIRouter:
    """Return the routes of signing in by a provider."""
    routes = APIRouter(include_in_schema=False)
    cookie = f"{access.cookie}-attempt"

    def unavailable(error: ProviderUnreachableError | ProviderReplyError) -> Response:
        log.warning("sign-in by the provider: %s", error)
        if isinstance(error, ProviderUnreachableError):
            problem = f"The provider cannot be reached now; try again in a minute. {BY_KEY}"
            return form(problem, HTTPStatus.SERVICE_UNAVAILABLE)
        problem = f"The provider's answer cannot be used; an administrator finds the reason in the log. {BY_KEY}"
        return form(problem, HTTPStatus.BAD_GATEWAY)

    @routes.get(BEGIN)
    async def begin() -> Response:
        secret = new_secret()
        try:
            url = await provider.authorization_url(SignInAttempt.of(secret))
        except (ProviderUnreachableError, ProviderReplyError) as error:
            return unavailable(error)
        reply = RedirectResponse(url, HTTPStatus.SEE_OTHER, {"cache-control": "no-store"})
        # Lax: the provider's answer is a request that another site begins.
        reply.set_cookie(cookie, secret, max_age=ATTEMPT_S, httponly=True, samesite="lax", secure=access.secure)
        return reply

    @routes.get(CALLBACK)
    async def answer(
        request: Request, code: str = "", state: str = "", error: str = "", iss: str | None = None
    ) -> Response:
        secret = request.cookies.get(cookie, "")
        attempt = SignInAttempt.of(secret)
        if not secret or not secrets.compare_digest(state.encode(), attempt.state.encode()):
            problem = "Expected the answer to a sign-in that this browser began within ten minutes; begin again."
            return form(problem, HTTPStatus.BAD_REQUEST)
        reply = await finish(attempt, code, error, iss)
        reply.delete_cookie(cookie, httponly=True, samesite="lax", secure=access.secure)
        return reply

    async def finish(attempt: SignInAttempt, code: str, error: str, iss: str | None) -> Response:
        """Return the reply to an answer that belongs to the attempt."""
        if error or not code:
            reason = error if re.fullmatch("[a-z_]{1,40}", error) else "no code"
            return form(f"The provider did not sign you in ({reason}).", HTTPStatus.FORBIDDEN)
        try:
            user = roles.user(await provider.claims(code, attempt, answering=iss))
        except (ProviderUnreachableError, ProviderReplyError) as failure:
            return unavailable(failure)
        except RefusedCodeError:
            problem = "The provider does not accept this sign-in: it was used or is too old; begin again."
            return form(problem, HTTPStatus.UNAUTHORIZED)
        except InvalidTokenError as failure:
            log.warning("sign-in by the provider: ID token refused: %s", failure)
            problem = f"The provider's ID token is not accepted ({failure}); begin again."
            return form(problem, HTTPStatus.UNAUTHORIZED)
        except RefusedUserError as failure:
            return form(f"You have no access to this console. {failure}", HTTPStatus.FORBIDDEN)
        return await access.sign_in(user, HTMLResponse(SIGNED_IN, headers=PAGE_HEADERS))

    return routes
