"""Heads of requests on a socket: long and slow ones end their connection, others are answered as before."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from jobs.access import KeyRing
from jobs.console.service import build as build_console
from jobs.edge.service import build as build_edge
from jobs.runtime.bounded_heads import MAX_HEAD_BYTES, BoundedHeads
from jobs.runtime.serving import SERVER
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import keys
from tests.jobs.edge.edge_builders import KEY
from tests.jobs.edge.test_tls import served

END = b"\r\n\r\n"
LINE = b"GET /echo HTTP/1.1\r\nHost: a"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Reply with the length of the body."""
    if scope["type"] == "http":
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(echo, Settings()) as port:
        yield port


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def reply(port: int, *parts: bytes) -> bytes:
    """Return all that the port sends for parts of a request, until it closes the connection."""
    with connected(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found = b""
        # A port that refuses a request may reset the connection before it has read the rest.
        try:
            for part in parts:
                connection.sendall(part)
            while piece := connection.recv(65_536):
                found += piece
        except ConnectionError:
            pass
        return found


def is_served(port: int) -> bool:
    return reply(port, LINE + b"\r\nConnection: close" + END).endswith(b"0 bytes")


@pytest.mark.parametrize(
    "head",
    [LINE + b"\r\nX-Long: " + b"x" * MAX_HEAD_BYTES, b"GET /" + b"x" * MAX_HEAD_BYTES, b"\r\n" * MAX_HEAD_BYTES],
    ids=["header", "URL", "empty lines"],
)
def test_long_head_is_refused_with_a_problem(port: int, head: bytes) -> None:
    status, _, rest = reply(port, head[: MAX_HEAD_BYTES + 1]).partition(b"\r\n")
    headers, _, body = rest.partition(END)
    assert status == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert b"content-type: application/problem+json" in headers and b"connection: close" in headers
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == ("urn:walras:problem:request-header-fields-too-large", 431)
    assert b"x-request-id: " + problem["instance"].removeprefix("urn:walras:request:").encode() in headers
    assert is_served(port)


def test_endless_head_is_not_collected(port: int) -> None:
    found = reply(port, LINE + b"\r\nX-Long: ", *[b"x" * 65_536] * 64)
    assert b"200 OK" not in found and is_served(port)


@pytest.mark.parametrize("end", [b"0\r\nX-Long: ", b"0\r\n", b"1;"])
def test_endless_trailer_of_a_chunked_body_ends_its_connection(port: int, end: bytes) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" + END
    found = reply(port, head + end, *[b"A: b\r\n" * 10_000 if end[-1:] == b"\n" else b"x" * 65_536] * 64)
    assert b"200 OK" not in found and is_served(port)


@pytest.mark.parametrize("build", [build_edge, build_console], ids=["quote port", "operator port"])
def test_both_ports_bound_their_heads(build: Any, redis_server: Any, tmp_path: Path) -> None:
    values: dict[str, Any] = {"redis": redis_server.url, "edge_secret": KEY, "home": tmp_path}
    app = build(Settings(kafka="127.0.0.1:1", **values), follow=False, ring=KeyRing(keys.values()))
    with served(app, Settings()) as port:
        assert b" 431 " in reply(port, LINE + b"\r\nX-Long: " + b"x" * MAX_HEAD_BYTES)
        healthy = reply(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close" + END)
        assert b" 200 OK" in healthy and healthy.endswith(b'{"status":"ok"}')


def test_many_short_headers_are_bounded_too(port: int) -> None:
    assert b" 431 " in reply(port, LINE, b"\r\nA: b" * (MAX_HEAD_BYTES // 6))
    assert is_served(port)


@given(st.integers(0, MAX_HEAD_BYTES - 200), st.lists(st.integers(0, MAX_HEAD_BYTES), max_size=6))
def test_shorter_head_is_served_however_it_is_cut(port: int, length: int, cuts: list[int]) -> None:
    head = LINE + b"\r\nConnection: close\r\nX-Long: " + b"x" * length + END
    places = [0, *sorted(min(cut, len(head)) for cut in cuts), len(head)]
    assert reply(port, *(head[a:b] for a, b in pairwise(places))).endswith(b"0 bytes")


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=4))
def test_requests_with_long_bodies_follow_each_other_on_one_connection(port: int, lengths: list[int]) -> None:
    sent = b"".join(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d%b%b" % (length, END, b"x" * length)
        for length in lengths
    )
    found = reply(port, sent, LINE + b"\r\nConnection: close" + END)
    replies = [piece.partition(END)[2] for piece in found.split(b"HTTP/1.1 200 OK")[1:]]
    assert replies == [b"%d bytes" % length for length in [*lengths, 0]]


@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.parametrize("begun", [b"G", LINE, LINE + b"\r\n"])
def test_slow_head_ends_its_connection(
    port: int, monkeypatch: pytest.MonkeyPatch, begun: bytes, earlier: int
) -> None:
    monkeypatch.setattr(BoundedHeads, "head_timeout_s", 0.1)
    with connected(port) as slow:
        for _ in range(earlier):
            slow.sendall(LINE + END)
            while not slow.recv(65_536).endswith(b"0 bytes"):
                pass
        slow.sendall(begun)
        assert slow.recv(65_536) == b""
    assert is_served(port)


def test_connection_without_a_request_ends_like_an_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVER, "timeout_keep_alive", 0)
    with served(echo, Settings()) as port, connected(port) as idle:
        assert idle.recv(1) == b""


def test_deadline_of_a_head_ends_with_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHeads, "head_timeout_s", 0.1)
    body = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close"
    with connected(port) as slow_body, connected(port) as slow_head:
        slow_body.sendall(body[:-1])
        slow_body.sendall(body[-1:] + END + b"x")
        slow_head.sendall(LINE)
        assert slow_head.recv(1) == b"", "a deadline has passed"
        slow_body.sendall(b"x")
        found = b""
        while piece := slow_body.recv(65_536):
            found += piece
    assert found.endswith(b"2 bytes")
