"""BoundedHeads: uvicorn's HTTP protocol with a bound on the size and the duration of a request's head.

uvicorn and httptools have neither: they collect a request line or a header of any length, each piece of which
costs a copy of all before it, and wait for the rest of it without end.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from jobs.runtime.problems import PROBLEM_TYPE, REQUEST_ID, REQUEST_IDS, Problem

MAX_HEAD_BYTES = 16_384
"""Most bytes of a request's line and headers; more are answered with status 431."""
HEAD_TIMEOUT_S = 10.0
"""Wall seconds in which a request's head must arrive after its first byte; then the connection is closed."""


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests have heads of at most :data:`MAX_HEAD_BYTES`.

    A head that follows another request in the same packet may be twice as long, and has the time of an idle
    connection until its next byte. A connection without any request is closed after that time too. The sizes and
    trailers of a chunked body are bounded as a head is; beyond that the connection is closed.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    _room = MAX_HEAD_BYTES
    """Bytes that may still come before the head, or the next part of the body, is complete."""
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests."""
        while len(data) > self._room:
            part, data = data[: self._room], data[self._room :]
            self._take(part)
            if self.transport.is_closing():
                return
        self._take(data)

    def on_headers_complete(self) -> None:
        """End a request's head."""
        self._in_head, self._room = False, MAX_HEAD_BYTES
        self._end_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a request's body."""
        self._room = min(MAX_HEAD_BYTES, self._room + len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request, after which another head may come."""
        self._in_head, self._room = True, MAX_HEAD_BYTES
        super().on_message_complete()

    def _take(self, data: bytes) -> None:
        self._room -= len(data)
        super().data_received(data)
        if self._room < MAX_HEAD_BYTES and not self.transport.is_closing():
            if self._room <= 0:
                self._refuse()
            elif self._in_head and self._deadline is None:
                self._deadline = self.loop.call_later(self.head_timeout_s, self._time_out)

    @property
    def _replying(self) -> bool:
        """Whether an earlier request of the connection waits for its reply."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self) -> None:
        """Answer 431 and close; where a head is complete or an earlier reply is due, close alone."""
        if self._in_head and not self._replying:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            given = REQUEST_IDS.of(())
            detail = f"expected a request line and headers of at most {MAX_HEAD_BYTES} bytes"
            body = Problem.of_status(status, detail).body(given)
            headers = (
                PROBLEM_TYPE, (b"content-length", b"%d" % len(body)), (REQUEST_ID, given),
                (b"connection", b"close"),
            )  # fmt: skip
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], lines, body))
        self.transport.close()

    def _time_out(self) -> None:
        self._deadline = None
        if self._replying:
            self._deadline = self.loop.call_later(self.head_timeout_s, self._time_out)
        else:
            self.transport.close()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
