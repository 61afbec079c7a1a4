"""Request a provider's replies, within limits of time and size, and read them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import orjson

from jobs.runtime.addresses import is_protected

MAX_REPLY = 1 << 20
"""Largest reply that is read, bytes."""


class ProviderUnreachableError(Exception):
    """The provider does not answer in time."""


class ProviderReplyError(Exception):
    """The provider's answer cannot be used; the message says what was expected."""


class Reply(NamedTuple):
    """A reply: its HTTP status, and its JSON object, empty if the body is none."""

    status: int
    content: Mapping[str, Any]


class Requests:
    """Sends requests to a provider. Redirects are not followed.

    Parameters
    ----------
    timeout_s : longest time of one request with its reply, wall seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    async def get(self, url: str) -> Mapping[str, Any]:
        """Return the JSON object at a URL.

        Raises
        ------
        ProviderUnreachableError
            Without a reply in time.
        ProviderReplyError
            If it is no JSON object.
        """
        reply = await self.send("GET", url)
        if reply.status != HTTPStatus.OK or not reply.content:
            raise ProviderReplyError(f"{_place(url)}: expected 200 with a JSON object, got {reply.status}")
        return reply.content

    async def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Reply:
        """Return the reply to a request, whatever its status; raises as :meth:`get` for time, size and address."""
        if not is_protected(url):
            raise ProviderReplyError(f"{_place(url)}: expected an https:// URL, or http:// on loopback")
        content = bytearray()
        try:
            request = self._open().stream(method, url, headers=headers, content=body)
            async with asyncio.timeout(self._timeout_s), request as reply:
                async for part in reply.aiter_bytes():
                    content += part
                    if len(content) > MAX_REPLY:
                        raise ProviderReplyError(f"{_place(url)}: expected at most {MAX_REPLY} bytes, got more")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ProviderUnreachableError(f"{_place(url)} does not answer ({type(error).__name__})") from None
        return Reply(reply.status_code, _json_object(bytes(content)))

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout_s, headers={"accept": "application/json"})
        return self._client


def _json_object(content: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _place(url: str) -> str:
    """Return scheme, host and path of a URL; a query may hold secrets."""
    try:
        return urlsplit(url)._replace(query="", fragment="").geturl()[:200]
    except ValueError:
        return "a malformed URL"
