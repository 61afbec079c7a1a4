"""Quotes of the edge service for a share of the simulated visits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpx

from schemas.listings import Listing

log = logging.getLogger("simulate")

MAX_PENDING_REQUESTS = 256
"""Most requests that may wait for their visit, so that a market that catches up does not flood the edge."""


class EdgeClient:
    """Requests quotes from the edge service in a thread with an event loop, a few at a time.

    Requests are sent ahead of the visits that they belong to, and a visit takes its reply when it is served. The
    market never waits for a reply: a visit whose reply is not there yet is served in process.

    Parameters
    ----------
    url : the edge's address.
    key : the shop's access key.
    timeout_s : seconds after which a request has failed.
    pause_s : seconds without requests after a failure (the edge may be starting).
    at_once : requests in flight at the same time.

    Attributes
    ----------
    answered, failed, late : replies, failures, and visits that were served before their reply arrived.
    """

    def __init__(
        self, url: str, key: str = "", *, timeout_s: float = 5.0, pause_s: float = 1.0, at_once: int = 4
    ) -> None:
        self._pause_s, self._resume_at = pause_s, 0.0
        self.answered = self.failed = self.late = 0
        self._replies: dict[str, dict[str, Any] | None] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edge-client", daemon=True)
        self._thread.start()
        self._at_once = asyncio.Semaphore(at_once)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False, headers=headers)

    def request(self, requests: Iterable[tuple[str, Listing, dict[str, str]]]) -> None:
        """Send requests, at most :data:`MAX_PENDING_REQUESTS` at a time; skip the others.

        Parameters
        ----------
        requests : session of the visit, listing, and query parameters.
        """
        for session, listing, query in requests:
            if len(self._replies) >= MAX_PENDING_REQUESTS or time.monotonic() < self._resume_at:
                break
            self._replies[session] = None
            asyncio.run_coroutine_threadsafe(self._request_one(session, listing, query), self._loop)

    def take_reply(self, session: str) -> dict[str, Any] | None:
        """Return and remove the reply to a visit; None if there was no request or its reply is late."""
        if session not in self._replies:
            return None
        reply = self._replies.pop(session, None)
        if reply is None:
            self.late += 1
        return reply

    @property
    def pending(self) -> int:
        """Requests whose visit has not been served yet."""
        return len(self._replies)

    def drain(self) -> None:
        """Wait until every request has succeeded or failed."""

        async def all_done() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if rest:
                await asyncio.wait(rest)

        asyncio.run_coroutine_threadsafe(all_done(), self._loop).result()

    def close(self) -> None:
        """Close the connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    async def _request_one(self, session: str, listing: Listing, query: dict[str, str]) -> None:
        async with self._at_once:
            if session not in self._replies or time.monotonic() < self._resume_at:
                self._replies.pop(session, None)
                return
            try:
                reply = await self._client.get(f"/v1/quotes/{listing.key}", params=query)
                body = reply.json() if reply.status_code == 200 else None
            except (httpx.HTTPError, ValueError) as error:
                log.debug("edge: %s", error)
                body = None
        if not isinstance(body, dict) or not {"price_minor", "quote_id"} <= body.keys():
            self.failed += 1
            self._resume_at = time.monotonic() + self._pause_s
            self._replies.pop(session, None)
            return
        self.answered += 1
        if session in self._replies:
            self._replies[session] = body
