"""LocalProvider: an OpenID Connect provider on loopback whose answers a test can change.

It is ``oidc-provider-mock`` behind a wrapper that also enforces PKCE, which that provider does not.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

AUTHORIZE, TOKEN, KEYS = "/oauth2/authorize", "/oauth2/token", "/jwks"
DISCOVERY = "/.well-known/openid-configuration"
HUNG_S = 10.0
"""Longest time for which a request that hangs waits for the end of its test."""


class LocalProvider:
    """The provider.

    Attributes
    ----------
    issue : replaces the text of an ID token; takes its claims.
    change : path → function that changes the JSON of its reply.
    status : path → HTTP status with which it answers instead.
    keys : published instead of the provider's own, if not empty.
    hangs : paths that do not answer until the test ends.
    requests : paths that were requested, in their order.
    secrets : codes, tokens, verifiers and authorization headers that were exchanged.
    clients : id and secret of the clients that sent them in the body, which ``oidc-provider-mock`` does not take.
    """

    def __init__(self) -> None:
        self._released = threading.Event()
        self.reset()
        self._challenges: dict[str, str] = {}
        self._inner = oidc_provider_mock.app(require_nonce=True, issue_refresh_token=False)
        self._server = make_server("localhost", 0, self, threaded=True)
        self.issuer = f"http://localhost:{self._server.server_port}"

    def reset(self) -> None:
        """Answer as at the start; users stay."""
        self._released.set()
        self._released = threading.Event()
        self.issue: Callable[[dict[str, Any]], str] | None = None
        self.change: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self.status: dict[str, int] = {}
        self.keys: list[RSAKey] = []
        self.hangs: set[str] = set()
        self.requests: list[str] = []
        self.secrets: set[str] = set()
        self.clients: list[tuple[str, str | None]] = []

    def add(self, sub: str, **claims: Any) -> None:
        """Add a user."""
        httpx.put(f"{self.issuer}/users/{sub}", json=claims, trust_env=False).raise_for_status()

    def answer(self, page: str, sub: str, **form: str) -> str:
        """Sign a user in at the provider's page; return the address to which it sends the browser back."""
        reply = httpx.post(page, data={"sub": sub} | form, trust_env=False)
        assert reply.status_code == 302, reply.text
        return reply.headers["location"]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = BytesIO(body)
        self.requests.append(request.path)
        if request.path in self.hangs:
            self._released.wait(HUNG_S)
        if request.path in self.status:
            return Response("no answer", self.status[request.path])(environ, start_response)
        if request.path == TOKEN:
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if not self._proves_its_code(form):
                refusal = Response('{"error": "invalid_grant"}', 400, content_type="application/json")
                return refusal(environ, start_response)
            self.secrets |= {form["code_verifier"], request.headers.get("authorization", "Basic none").split()[1]}
            if "client_id" in form:
                self.clients.append((form["client_id"], form.get("client_secret")))
                basic = base64.b64encode(f"{form['client_id']}:any".encode()).decode()
                environ["HTTP_AUTHORIZATION"] = f"Basic {basic}"
        reply = Response.from_app(self._inner, environ)
        self._note(request, reply)
        if reply.is_json and reply.status_code == 200:
            change = self.change.get(request.path, lambda content: content)
            reply.set_data(json.dumps(change(self._issued(request.path, reply.get_json()))))
        return reply(environ, start_response)

    def _proves_its_code(self, form: dict[str, str]) -> bool:
        return self._challenges.get(form["code"]) == challenge(form["code_verifier"])

    def _note(self, request: Request, reply: Response) -> None:
        if request.path == AUTHORIZE and reply.status_code == 302:
            code = parse_qs(urlsplit(reply.headers["location"]).query).get("code", [""])[0]
            assert request.args["code_challenge_method"] == "S256"
            self._challenges[code] = request.args["code_challenge"]
            self.secrets.add(code)

    def _issued(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        if path == TOKEN:
            if self.issue is not None:
                content["id_token"] = self.issue(claims_of(content["id_token"]))
            self.secrets |= {content["id_token"], content["access_token"]}
        if path == KEYS and self.keys:
            return dict(KeySet(list(self.keys)).as_dict(private=False))
        return content

    @contextlib.contextmanager
    def serving(self) -> Iterator[LocalProvider]:
        """Serve in a thread."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._released.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def challenge(verifier: str) -> str:
    """Return the PKCE challenge of a verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified."""
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))


@functools.cache
def signing_key(kid: str, number: int = 0) -> RSAKey:
    """Return a signing key with an id; another number is another key."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def signed(claims: dict[str, Any], key: RSAKey) -> str:
    """Return an ID token that a key signs, with RS256 and the key's id."""
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def segments(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return header and claims of a token, without signature."""
    parts = (json.dumps(header), json.dumps(claims))
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
