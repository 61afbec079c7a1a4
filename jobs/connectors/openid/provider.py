"""Provider: sends people to an OpenID Connect provider, and exchanges the code of its answer for their claims."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from jobs.connectors.openid.attempts import SignInAttempt
from jobs.connectors.openid.id_tokens import ExpectedToken, UnknownKeyError, check_id_token
from jobs.connectors.openid.replies import ProviderReplyError, ProviderUnreachableError, Reply, Requests
from jobs.runtime.addresses import is_protected
from jobs.runtime.settings import Settings
from schemas.time_units import HOUR_MS

KEPT_MS = HOUR_MS
"""Wall time for which the discovery document and the keys are kept."""
RETRY_MS = 2_000
"""Wall time after a failure in which the provider is not asked again for them."""
CALLBACK = "/sign-in/callback"
"""Path of the operator port to which the provider sends people back."""
DISCOVERY = "/.well-known/openid-configuration"
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class RefusedCodeError(Exception):
    """The provider does not take the code: it was used before, has expired, or is of another client."""


class _Kept:
    """A document of the provider, requested again when it is old, by one task for all that need it."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms, self._lock = wall_ms, asyncio.Lock()
        self._content: Mapping[str, Any] | None = None
        self._failure: Exception | None = None
        self._at_ms = 0

    async def get(
        self, request: Callable[[], Any], *, other_than: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Return the document. ``other_than``: a copy that did not suffice, so that a newer one is needed."""
        async with self._lock:
            age_ms = self._wall_ms() - self._at_ms
            if self._failure is not None and age_ms < RETRY_MS:
                raise type(self._failure)(*self._failure.args)
            if self._content is None or self._content is other_than or age_ms >= KEPT_MS:
                try:
                    self._content, self._failure = await request(), None
                except (ProviderReplyError, ProviderUnreachableError) as error:
                    self._content, self._failure = None, error
                    self._at_ms = self._wall_ms()
                    raise
                self._at_ms = self._wall_ms()
            return self._content


class Provider:
    """The provider of the settings.

    Parameters
    ----------
    settings : with ``oidc_issuer`` and what belongs to it.
    wall_ms : the wall clock; tokens expire by it.
    """

    def __init__(self, settings: Settings, wall_ms: Callable[[], int]) -> None:
        secret = settings.oidc_client_secret
        self.issuer, self._client_id = settings.oidc_issuer or "", settings.oidc_client_id or ""
        self._secret = secret.get_secret_value() if secret is not None else None
        self._scopes, self._redirect_uri = settings.oidc_scopes, settings.console_address + CALLBACK
        self._wall_ms, self._requests = wall_ms, Requests(settings.oidc_timeout_s)
        self._discovered, self._keys = _Kept(wall_ms), _Kept(wall_ms)

    async def authorization_url(self, attempt: SignInAttempt) -> str:
        """Return the provider's page to which a browser is sent; raises as :meth:`claims`."""
        document = await self._document()
        return prepare_grant_uri(
            document["authorization_endpoint"], client_id=self._client_id, response_type="code",
            redirect_uri=self._redirect_uri, scope=self._scopes, state=attempt.state, nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier), code_challenge_method="S256",
        )  # fmt: skip

    async def claims(self, code: str, attempt: SignInAttempt, *, answering: str | None = None) -> dict[str, Any]:
        """Return the claims of the ID token that a code is exchanged for.

        Parameters
        ----------
        answering : issuer that the provider's answer names (RFC 9207); None without one.

        Raises
        ------
        RefusedCodeError
            If the provider does not take the code.
        InvalidTokenError
            If the ID token does not fit (:mod:`jobs.connectors.openid.id_tokens`).
        ProviderUnreachableError
            If the provider does not answer in time.
        ProviderReplyError
            If its answer cannot be used.
        """
        document = await self._document()
        names_issuer = document.get("authorization_response_iss_parameter_supported") is True
        if answering != self.issuer and (answering is not None or names_issuer):
            raise ProviderReplyError("iss: expected WALRAS_OIDC_ISSUER in the provider's answer, got another")
        content = (await self._exchange(document, code, attempt)).content
        token, access_token = content.get("id_token"), content.get("access_token")
        if not isinstance(token, str):
            raise ProviderReplyError("token endpoint: expected an ID token, got none; request the scope openid")
        algorithms = _listed(document, "id_token_signing_alg_values_supported", "RS256")
        expected = ExpectedToken(self.issuer, self._client_id, attempt.nonce, algorithms)

        def check(keys: Mapping[str, Any]) -> dict[str, Any]:
            return check_id_token(
                token, keys, expected, now_s=self._wall_ms() // 1000,
                access_token=access_token if isinstance(access_token, str) else None,
            )  # fmt: skip

        keys = await self._key_set(document)
        try:
            return check(keys)
        except UnknownKeyError:
            return check(await self._key_set(document, other_than=keys))

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._requests.close()

    async def _document(self) -> Mapping[str, Any]:
        async def request() -> Mapping[str, Any]:
            found = await self._requests.get(self.issuer.rstrip("/") + DISCOVERY)
            if found.get("issuer") != self.issuer:
                raise ProviderReplyError(
                    f"discovery document: expected the issuer {self.issuer!r}, got {found.get('issuer')!r}; "
                    "correct WALRAS_OIDC_ISSUER"
                )
            wrong = [name for name in ENDPOINTS if not is_protected(str(found.get(name)))]
            if wrong:
                raise ProviderReplyError(f"discovery document: expected https:// URLs as {', '.join(wrong)}")
            return found

        return await self._discovered.get(request)

    async def _key_set(
        self, document: Mapping[str, Any], *, other_than: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        async def request() -> Mapping[str, Any]:
            found = await self._requests.get(document["jwks_uri"])
            if not isinstance(found.get("keys"), list):
                raise ProviderReplyError("key set: expected a list `keys`, got none")
            return found

        return await self._keys.get(request, other_than=other_than)

    async def _exchange(self, document: Mapping[str, Any], code: str, attempt: SignInAttempt) -> Reply:
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }  # fmt: skip
        headers = {"content-type": "application/x-www-form-urlencoded"}
        methods = _listed(document, "token_endpoint_auth_methods_supported", "client_secret_basic")
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        client = ClientAuth(self._client_id, self._secret, method if self._secret is not None else "none")
        url, headers, body = client.prepare("POST", document["token_endpoint"], headers, urlencode(form))
        reply = await self._requests.send("POST", url, headers, body)
        error = reply.content.get("error")
        if error == "invalid_grant":
            raise RefusedCodeError
        if reply.status != HTTPStatus.OK:
            known = f" ({error})" if error in ("invalid_client", "unauthorized_client", "invalid_request") else ""
            raise ProviderReplyError(
                f"token endpoint: expected 200, got {reply.status}{known}; check WALRAS_OIDC_CLIENT_ID, "
                "WALRAS_OIDC_CLIENT_SECRET and the redirect address at the provider"
            )
        return reply


def _listed(document: Mapping[str, Any], name: str, otherwise: str) -> list[str]:
    """Return a list of the discovery document; without one, its default of the specification."""
    found = document.get(name)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else [otherwise]
