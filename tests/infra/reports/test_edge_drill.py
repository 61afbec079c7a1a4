"""The edge drill: disturbances, load, and what is computed from replies; its quick form runs on the platform."""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from itertools import islice
from pathlib import Path

from infra.reports.edge_drill import disturbances, replies
from infra.reports.edge_drill.connection import NO_REPLY, Connection, RawReply
from infra.reports.edge_drill.disturbances import DISTURBANCES
from infra.reports.edge_drill.failures import FIRST_S, Failures, Window, figures
from infra.reports.edge_drill.load import LoadPlan, prepared_requests
from infra.reports.edge_drill.publications import Publication, publication_figures
from infra.reports.edge_drill.replies import Reply, older_versions
from infra.reports.report import Figure

ANSWERED = Reply(0.0, 0.0, 0.002, 200, 0, "a/b/c", "q-1", "table", 5, 7, "")


def test_disturbances_contains_every_subclass() -> None:
    found = {
        node.name
        for path in Path(disturbances.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Disturbance" for base in node.bases)
    }
    assert {type(each).__name__ for each in DISTURBANCES} == found
    assert len({each.name for each in DISTURBANCES}) == len(DISTURBANCES)


def test_requests_depend_on_the_plan_only_and_follow_its_rates() -> None:
    plan = LoadPlan(1, [("one", 300.0), ("other", 100.0)], ["a/b/c", "a/b/d"])
    first, again = (list(islice(prepared_requests(plan), 4_000)) for _ in range(2))
    assert first == again and plan.rate == 400.0
    callers = Counter(each.caller for each in first)
    assert 0.7 < callers[0] / 4_000 < 0.8
    assert {each.listing for each in first} == {"a/b/c", "a/b/d"}
    assert all((b"Bearer one", b"Bearer other")[each.caller] in each.data for each in first)


def test_connection_parses_a_reply_in_parts_and_reports_an_end_without_one() -> None:
    parts = (b"HTTP/1.1 429 Too Many Requests\r\nretry-", b"after: 7\r\ncontent-length: 4\r\n\r\n{", b'"":')

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def scenario() -> list[RawReply]:
        loop = asyncio.get_running_loop()
        waiting = [loop.create_future() for _ in range(2)]
        found = iter(waiting)
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            _, connection = await loop.create_connection(
                lambda: Connection(lambda _, reply: next(found).set_result(reply)),
                *server.sockets[0].getsockname(),
            )
            for reply in waiting:
                connection.send(b"GET / HTTP/1.1\r\n\r\n")
                await reply
        assert not connection.open
        return [reply.result() for reply in waiting]

    replied, ended = asyncio.run(asyncio.wait_for(scenario(), 10))
    assert (replied.status, replied.retry_after, replied.body) == (429, "7", b'{"":')
    assert ended.status == NO_REPLY


def test_replies_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = [ANSWERED, ANSWERED._replace(due_s=-1.0, status=NO_REPLY)]
    replies.save(tmp_path / "replies", written)
    assert replies.load(tmp_path / "replies") == written[::-1]


def test_order_of_versions_counts_from_the_reply_to_the_next_request() -> None:
    newer = ANSWERED._replace(version=8, sent_s=1.0, received_s=1.2)
    during, after = (ANSWERED._replace(sent_s=sent, received_s=1.3) for sent in (1.1, 1.25))
    assert older_versions([newer, during]) == []
    assert older_versions([newer, after]) == ["a/b/c: version 7 after 8"]
    assert older_versions([newer, after._replace(version=0), after._replace(listing="a/b/d")]) == []


def window(name: str, began_s: float, affected: frozenset[str] = frozenset()) -> Window:
    return Window(name, name, began_s, began_s + 5, began_s + 10, affected, {})


def values(found: list[Figure]) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in found}


def test_figures_of_failures_count_each_violation() -> None:
    sku = [f"edge-drill/web-us-usd/sku-000{i}" for i in range(2)]
    slow = ANSWERED._replace(due_s=10.0 + FIRST_S / 2, sent_s=10.0, received_s=10.4, quote_id="q-2")
    in_time = ANSWERED._replace(due_s=11.0, sent_s=11.0, received_s=11.05, quote_id="q-3", listing=sku[0])
    stale = in_time._replace(due_s=12.0, source="stale", quote_id="q-4", listing=sku[1])
    refused = ANSWERED._replace(due_s=13.0, sent_s=13.0, received_s=13.001, status=503, quote_id="", source="")
    found = Failures(
        window("undisturbed", 0.0), [window("redis", 10.0, frozenset(sku[:1]))],
        [ANSWERED, slow, in_time, stale, refused], {"before_mb": 100.0, "peak_mb": 180.0}, False,
        Counter({"q-1": 1, "q-2": 2, "q-3": 1}), 3,
    )  # fmt: skip
    seen = values(figures(found))
    assert (seen["undisturbed_failures"], seen["redis_failures"]) == (0, 1)
    assert (seen["quotes_missing"], seen["quotes_repeated"], seen["memory_growth"]) == (1, 1, 80.0)
    assert seen["redis_others"] == 1
    assert seen["redis_p99"] is not None and seen["redis_p99"] < 51


def test_publication_counts_at_the_slowest_edge() -> None:
    published = [Publication("a/b/c", 8, 1.0)]
    old = ANSWERED._replace(sent_s=1.001, received_s=1.002)
    new = ANSWERED._replace(version=8, sent_s=1.0, received_s=1.004)
    other = [old._replace(sent_s=1.009, received_s=1.01), new._replace(sent_s=1.02, received_s=1.021)]
    seen = values(publication_figures("published", published, [[old, new], other]))
    assert seen == {"published_p99": 21.0, "published_older_same_edge": 0, "published_apart": 5.0}
    back = [*other, old._replace(sent_s=1.03, received_s=1.031)]
    assert (
        values(publication_figures("published", published, [[old, new], back]))["published_older_same_edge"] == 1
    )
