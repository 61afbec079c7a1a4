"""One HTTP/1.1 connection to an edge, with one request in flight.

httptools, which uvicorn uses too, parses the replies. A general HTTP client costs more processor time than the
edge and would delay the measurement.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools


class RawReply(NamedTuple):
    """Status (0: no reply), body, text of ``Retry-After``, and the time of the last byte, monotonic seconds."""

    status: int
    body: bytes
    retry_after: str
    at_s: float


NO_REPLY = 0
"""Status of a request whose connection ended, or whose reply did not arrive in time."""
OnReply = Callable[["Connection", RawReply], None]


class Connection(asyncio.Protocol):
    """Sends one request after another; ``on_reply`` gets each reply, also one of status 0.

    Attributes
    ----------
    sent_s : when the last request was sent, monotonic seconds.
    busy : whether a reply is expected.
    open : whether a request can be sent.
    """

    def __init__(self, on_reply: OnReply) -> None:
        self.on_reply = on_reply
        self.sent_s = 0.0
        self.busy = self.open = False
        self._transport: asyncio.Transport | None = None
        self._body, self._retry_after = b"", ""
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes) -> None:
        """Send the bytes of a request."""
        assert self._transport is not None and not self.busy
        self.busy, self._body, self._retry_after = True, b"", ""
        self.sent_s = time.monotonic()
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection; a request in flight gets no reply."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # uvloop's transports have the methods of asyncio.Transport, but not its base class.
        self._transport, self.open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        """Parse a part of a reply."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end of the connection as a missing reply."""
        self.open = False
        if self.busy:
            self._finish(NO_REPLY)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the header that is checked; called by the parser."""
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        """Append a part of the body; called by the parser."""
        self._body += part

    def on_message_complete(self) -> None:
        """Report the reply; called by the parser."""
        self._finish(int(self._parser.get_status_code()))

    def _finish(self, status: int) -> None:
        self.busy = False
        self.on_reply(self, RawReply(status, self._body, self._retry_after, time.monotonic()))
