"""The simulator's HTTP client of the edge service, against a local server."""

from __future__ import annotations

import socket

import pytest

from jobs.simulator.edge_client import MAX_PENDING_REQUESTS, EdgeClient
from schemas.listings import Listing
from tests.jobs.simulator.edge_server import edge_server


def a_request(session: str = "s1") -> tuple[str, Listing, dict[str, str]]:
    return session, Listing("demo", "web", "sku-1"), {"customer": "c1", "session": session}


def test_each_visit_takes_its_own_reply_once() -> None:
    with edge_server() as (url, paths):
        edge = EdgeClient(url, timeout_s=10.0)
        edge.request([a_request("s1"), a_request("s2")])
        edge.drain()
        replies = [edge.take_reply(session) for session in ("s1", "s2", "s2", "s3")]
        edge.close()
    assert [r is not None and r["price_minor"] for r in replies] == [4242, 4242, False, False]
    assert sorted(paths) == [f"/v1/quotes/demo/web/sku-1?customer=c1&session=s{k}" for k in (1, 2)]
    assert (edge.answered, edge.failed, edge.late) == (2, 0, 0)


@pytest.mark.parametrize("status", [404, 503])
def test_failed_request_is_counted_and_pauses_further_requests(status: int) -> None:
    with edge_server(status) as (url, paths):
        edge = EdgeClient(url, timeout_s=10.0, pause_s=60.0)
        for session in ("s1", "s2"):
            edge.request([a_request(session)])
            edge.drain()
            assert edge.take_reply(session) is None
        edge.close()
    assert len(paths) == 1
    assert (edge.answered, edge.failed) == (0, 1)


def test_refused_connection_counts_as_a_failure() -> None:
    edge = EdgeClient("http://127.0.0.1:1", timeout_s=5.0)
    edge.request([a_request()])
    edge.drain()
    assert edge.take_reply("s1") is None
    edge.close()
    assert edge.failed == 1


def test_visit_does_not_wait_for_its_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        edge = EdgeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        edge.request([a_request()])
        assert edge.take_reply("s1") is None
        edge.drain()
        edge.close()
    assert edge.late == 1


def test_pending_requests_are_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        edge = EdgeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5)
        edge.request([a_request(f"s{k}") for k in range(MAX_PENDING_REQUESTS + 10)])
        pending = edge.pending
        edge.drain()
        edge.close()
    assert pending == MAX_PENDING_REQUESTS
