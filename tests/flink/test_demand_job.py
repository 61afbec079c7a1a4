"""demand_job on the real platform: broken input, good input, ledger, backfill."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from features.cells.lines import read_line
from infra.reports.fuzz.records import HostileLines
from infra.reports.waiting import until
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_topic
from jobs.replay.backfill import CellQuery, compare, raw_lines
from jobs.runtime.settings import Settings
from schemas.events import bucket_of
from schemas.ticks import closing_ticks, due_ticks
from schemas.topics import INPUTS, TOPICS

pytestmark = pytest.mark.platform

MINUTE = 60_000
MINUTES = 40
"""Long enough for a session of 30 minutes to end."""
DEFAULT_START = 1_780_000_020_000


def a_click(at_ms: int, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"c{at_ms}", "event_time_ms": at_ms, "tenant": "set by the run", "market": "web", "sku": "s1",
        "price_group": "s1", "kind": "view", "customer": "ann", "session": "x", "segment": "all", "arm": "base",
        "price_minor": 1000, "currency": "USD",
    } | changes  # fmt: skip


def a_quote(at_ms: int, **changes: Any) -> dict[str, Any]:
    quote = a_click(at_ms) | {"propensity": 0.5, "table_id": "t1", "version": 3, "source": "table"}
    del quote["kind"]
    return quote | changes


def an_order(at_ms: int, **changes: Any) -> dict[str, Any]:
    order = a_click(at_ms, kind="placed") | {
        "order_id": "o1", "line": 0, "quoted_price_minor": 1000, "price_paid_minor": 900, "discount_minor": 100,
        "quantity": 2, "offer_minor": 950,
    }  # fmt: skip
    del order["price_minor"]
    return order | changes


def without(record: dict[str, Any], field: str) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != field}


def encoded(record: Any, tenant: str) -> bytes | None:
    if isinstance(record, bytes | None):
        return record
    return json.dumps(record | {"tenant": tenant} if "tenant" in record else record).encode()


def broken_inputs(t: int) -> list[tuple[str, Any, str, str]]:
    """Topic, what is sent, and the field and code with which it must be refused."""
    line, missing, ranged = "line", "MISSING_OR_WRONG_TYPE", "OUT_OF_RANGE"
    whole = json.dumps(a_click(t)).encode()
    return [
        ("clicks", b"{not json", line, "NOT_JSON_OBJECT"),
        ("clicks", b"", line, "NOT_JSON_OBJECT"),
        ("clicks", b"[" + whole + b"," + whole + b"]", line, "NOT_JSON_OBJECT"),
        ("clicks", b"42", line, "NOT_JSON_OBJECT"),
        ("clicks", whole + b" and more", line, "NOT_JSON_OBJECT"),
        ("clicks", b"\xef\xbb\xbf" + whole, line, "NOT_JSON_OBJECT"),
        ("clicks", whole.replace(b"1000", b"NaN"), line, "NOT_JSON_OBJECT"),
        ("clicks", whole.replace(b"ann", b"an\xff"), line, "INVALID_UTF8"),
        ("clicks", whole.replace(b"ann", b"a" * 70_000), line, "TOO_LARGE"),
        ("clicks", a_click(t, customer="a" * 1000), "customer", "TOO_LONG"),
        ("clicks", a_click(t, market="web/eu"), "market", "BAD_CHARACTERS"),
        ("clicks", a_click(t, customer="a|b"), "customer", "BAD_CHARACTERS"),
        ("clicks", a_click(t, session="a\nb"), "session", "BAD_CHARACTERS"),
        ("clicks", a_click(t, sku="\x85"), "sku", "BAD_CHARACTERS"),
        ("clicks", a_click(t, price_minor="1000"), "price_minor", missing),
        ("clicks", a_click(t, price_minor=9.99), "price_minor", missing),
        ("clicks", a_click(t, price_minor={"sku": "s2"}), "price_minor", missing),
        ("clicks", without(a_click(t), "sku"), "sku", missing),
        ("clicks", a_click(t, price_minor=-5), "price_minor", ranged),
        ("quotes", a_quote(t, price_minor=10**12), "price_minor", ranged),
        ("quotes", a_quote(t, propensity=1.5), "propensity", ranged),
        ("clicks", a_click(t, kind="teleport"), "kind", "NOT_IN_SET"),
        ("clicks", a_click(t, currency="DOUBLOON"), "currency", "BAD_CURRENCY"),
        ("clicks", a_click(4_070_908_800_000), "event_time_ms", "FROM_THE_FUTURE"),
        ("clicks", a_click(5), "event_time_ms", ranged),
        ("orders", an_order(t, quantity=0), "quantity", ranged),
        ("orders", an_order(t), "order_id", "DUPLICATE_ORDER"),
        ("catalog", None, line, "NOT_JSON_OBJECT"),
        ("ticks", {"event_time_ms": t, "tick": True}, "bucket", missing),
    ]  # fmt: skip


def odd_lines(t: int) -> list[bytes]:
    """Lines at the edges of JSON and of the types: Flink must read each as Python does, good or bad."""
    whole = json.dumps(a_click(t)).encode()
    prices = [b"1e3", b"1000.0", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-0",
              b"18446744073709551616", b"01", b"+1", b"1.", b"1e400", b"1" * 400, b"true", b"null", b"[1]",
              b'{"price_minor": 5}', b'"\\u0031"', b"Infinity"]  # fmt: skip
    unknown = [b"1e400", b"1e-400", b"1" * 5000, b"[" * 63 + b"]" * 63, b"[" * 64 + b"]" * 64, b'"\\ud800"',
               b'"\\ud83d\\ude00"', b'"\\u0000"', b'"tab\there"', b'"\x7f"', b'{"sku": "s9"}', b"tru",
               b'{"a": "\\udc00"}', b'{"\\ud800": 1}', b"'one'", b'"\xc0\x80"', b'"\xed\xa0\x80"',
               b'"\xf0\x9f\x98\x80"', b"1 /* why */"]  # fmt: skip
    lines = [whole.replace(b"1000", price) for price in prices]
    lines += [whole[:-1] + b', "extra": ' + value + b"}" for value in unknown]
    lines += [whole[:-1] + b', "price_minor": 7}', whole[:-1] + b', "price_minor": "7"}', whole[:-1] + b",}"]
    lines += [whole.decode().encode("utf-16"), b" \n\t" + whole + b"\r\n", whole + b"\x00", b"\x00" + whole]
    return lines


def good_inputs(t: int) -> list[tuple[str, Any, int]]:
    """Topic, record, Kafka timestamp."""
    events: list[tuple[str, Any]] = [
        *(("clicks", a_click(t + 100 * i, kind=("view", "search", "cart")[i % 3], session=f"x{i % 7}",
                             sku=f"s{i % 5}", price_group=f"s{i % 5}")) for i in range(300)),
        *(("quotes", a_quote(t + 100 * i, customer=f"k{i % 40}", sku=f"s{i % 5}", price_group=f"s{i % 5}"))
          for i in range(300)),
        *(("orders", an_order(t + 5000 * i, order_id=f"o{i}", sku=f"s{i % 5}", price_group=f"s{i % 5}",
                              session=f"x{i % 3}", kind=("placed", "placed", "returned", "paid")[i % 4]))
          for i in range(2, 20)),
        ("orders", an_order(t)),
        ("clicks", a_click(t, session="brim", kind="search")),
        ("clicks", a_click(t + 30 * MINUTE, session="brim", kind="cart", price_minor=1100)),
        ("clicks", a_click(t, kind="view", geo="Zürich €😀")),
        ("stock", a_fact(t, on_hand=5, inbound=0, lead_time_days=-0.0)),
        ("clicks", a_click(t, customer="größe: 4/7 {😀}", session="\u202eabc", arm="a'b", segment='"')),
        ("offers", a_fact(t, competitor="rival", price_minor=950, shipping_minor=0, in_stock=True, currency="USD",
                          pack_size=1, source="feed", match_confidence=0.9)),
        ("stock", a_fact(t, on_hand=5, inbound=0, lead_time_days=1.5)),
        ("catalog", a_fact(t, category="shoes", role="kvi", currency="USD", pack_size=1, active=True)),
    ]  # fmt: skip
    late = [("clicks", a_click(t - 15_000), t), ("clicks", a_click(t - 3 * 3_600_000), t + 1000)]
    return sorted([(n, r, r["event_time_ms"]) for n, r in events] + late, key=lambda e: e[2])


def a_fact(at_ms: int, **fields: Any) -> dict[str, Any]:
    common = ("event_id", "event_time_ms", "tenant", "market", "sku", "price_group")
    return {k: v for k, v in a_click(at_ms).items() if k in common} | fields


@pytest.fixture(scope="module")
def demand_job(local_platform: Any, platform: Settings) -> Iterator[Settings]:
    """The platform with demand_job running; it is left as it was found."""
    jobs = httpx.get(f"http://{platform.flink}/jobs/overview").json()["jobs"]
    if any(job["name"] == "demand_job" and job["state"] == "RUNNING" for job in jobs):
        yield platform
        return
    local_platform.submit(["demand_job"])
    local_platform.wait(job_names=["demand_job"], timeout_s=180)
    yield platform
    for job in httpx.get(f"http://{platform.flink}/jobs/overview").json()["jobs"]:
        if job["name"] == "demand_job" and job["state"] == "RUNNING":
            httpx.patch(f"http://{platform.flink}/jobs/{job['jid']}?mode=cancel")
            at = f"http://{platform.flink}/jobs/{job['jid']}"
            until("demand_job cancelled", lambda at=at: httpx.get(at).json()["state"] == "CANCELED")


class Run:
    """What was sent, and the outputs of its span of time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kafka = settings.kafka
        newest = max((r.kafka_ts_ms for t in INPUTS for r in read_topic(self.kafka, t.topic)), default=0)
        # Other tests share the platform, and time only moves forward: begin after all that was sent.
        self.start = max(DEFAULT_START, (newest // MINUTE + 30) * MINUTE)
        self.end = self.start + MINUTES * MINUTE
        self.t = self.start + MINUTE
        # What is remembered for days (orders, exposures) must not come from a run before this one.
        self.tenant = f"shop-{self.start // MINUTE}"
        self.broken = broken_inputs(self.t)
        self.odd: list[tuple[str, Any, int]] = []
        for line in odd_lines(self.t):
            code, record = read_line(line)
            verdict = ("line", code) if code is not None else TOPICS["clicks"].judge(record, self.t + MINUTE)
            if verdict is None:
                self.odd.append(("clicks", line, self.t + MINUTE))
            else:
                self.broken.append(("clicks", line, *verdict))

    def inputs(self) -> list[tuple[str, Any, int]]:
        """Topic, record or line, Kafka timestamp."""
        broken = [(name, record, self.t + MINUTE) for name, record, *_ in self.broken]
        return good_inputs(self.t) + self.odd + broken

    def send(self, after_ms: int = 0, upto_ms: int = 2**62) -> None:
        """Send what is stamped in (after, upto]."""
        partitions = {t.name: t.partitions for t in INPUTS}
        ticks = due_ticks(self.start, self.end, buckets=self.settings.buckets, partitions=partitions)
        ticks += closing_ticks(self.end, buckets=self.settings.buckets, partitions=partitions)
        timed = [(at, 0, name, record, -1) for name, record, at in self.inputs()]
        timed += [(tick.at_ms, 1, tick.topic, tick.record(), tick.partition) for tick in ticks]
        with Publisher(self.kafka) as out:
            for at, is_tick, name, record, partition in sorted(timed, key=lambda e: e[:2]):
                if not after_ms < at <= upto_ms:
                    continue
                where = partition if is_tick else 0
                out.send_bytes(
                    TOPICS[name].topic, encoded(record, self.tenant), timestamp_ms=at, partition=where, key=b"k"
                )

    def send_heartbeat(self, at_ms: int) -> None:
        """A tick of every bucket and partition, which closes what lies before."""
        partitions = {t.name: t.partitions for t in INPUTS}
        with Publisher(self.kafka) as out:
            for tick in closing_ticks(at_ms, buckets=self.settings.buckets, partitions=partitions):
                value = encoded(tick.record(), self.tenant)
                topic = TOPICS[tick.topic].topic
                out.send_bytes(topic, value, timestamp_ms=tick.at_ms, partition=tick.partition, key=b"k")

    def every_batch(self) -> list[bytes]:
        """Values of the cells topic, repeats included (a restart may write a batch again, but not another one)."""
        found = read_topic(self.kafka, TOPICS["cells"].topic)
        return [r.value or b"" for r in found if self.start < r.kafka_ts_ms <= self.end]

    def batches(self) -> dict[tuple[int, int], bytes]:
        decoded = [(json.loads(value), value) for value in self.every_batch()]
        return {(batch["bucket"], batch["window_end_ms"]): value for batch, value in decoded}

    def closed(self) -> bool:
        return len(self.batches()) >= MINUTES * self.settings.buckets

    def lines(self) -> dict[str, list[tuple[int, int, int, bytes | None]]]:
        return {
            t.topic: [
                (r.partition, r.offset, r.kafka_ts_ms, r.value)
                for r in read_topic(self.kafka, t.topic)
                if r.kafka_ts_ms >= self.start
            ]
            for t in INPUTS
        }

    def records(self, name: str) -> list[dict[str, Any]]:
        return [r.json() for r in read_topic(self.kafka, TOPICS[name].topic) if r.kafka_ts_ms >= self.start]


class HostileRun(Run):
    """The same with hostile lines in every stream."""

    def inputs(self) -> list[tuple[str, Any, int]]:
        return HostileLines(3_000, self.settings.buckets, seed=2, minutes=20, start_ms=self.t).arrivals


@pytest.fixture(scope="module")
def run(demand_job: Settings) -> Run:
    run = Run(demand_job)
    run.send()
    until(f"{MINUTES} minutes of batches of every bucket; got {len(run.batches())}", run.closed, 180)
    return run


@pytest.fixture(scope="module")
def backfill(run: Run) -> CellQuery:
    return CellQuery(run.lines())


def test_every_bucket_gets_one_batch_per_minute(run: Run) -> None:
    minutes = {window_end for _, window_end in run.batches()}
    assert minutes == {run.start + MINUTE * (i + 1) for i in range(MINUTES)}
    assert set(run.batches()) == {(b, m) for b in range(run.settings.buckets) for m in minutes}


def test_the_stream_gives_the_cells_of_a_backfill(run: Run, backfill: CellQuery) -> None:
    assert compare(run.every_batch(), backfill, until_ms=run.end) == []
    assert sum(row["exposures"] for row in backfill.rows("cells")) == 40
    assert sum(row["searches_matured"] for row in backfill.rows("cells")) > 0


def test_facts_ride_in_their_buckets_batch(run: Run) -> None:
    bucket = bucket_of(f"{run.tenant}/web/s1", run.settings.buckets)
    batch = json.loads(run.batches()[bucket, run.t + MINUTE])
    facts = {row["kind"]: row for row in batch["rows"] if row["kind"] != "cell"}
    assert set(facts) == {"offers", "stock", "catalog"}
    assert (facts["offers"]["match_confidence"], facts["offers"]["in_stock"]) == (0.9, True)
    assert facts["catalog"]["cost_minor"] is None


def test_each_broken_input_is_refused_with_its_code_and_address(run: Run, backfill: CellQuery) -> None:
    refused = {(r["topic"], r["partition"], r["offset"]): r for r in run.records("rejected")}
    expected = Counter((TOPICS[name].topic, field, code) for name, _, field, code in run.broken)
    assert Counter((r["topic"], r["field"], r["code"]) for r in refused.values()) == expected
    assert {(r["topic"], r["partition"], r["offset"]) for r in backfill.rows("rejected")} == set(refused)
    assert all(len(r["line"]) <= 1000 and r["detail"] for r in refused.values())


def test_the_ledger_balances_by_partition_and_minute_and_covers_every_offset(
    run: Run, backfill: CellQuery
) -> None:
    counts = ("offsets_read", "on_time", "late", "rejected", "ticks")
    stream = {
        (e["topic"], e["partition"], e["window_end_ms"]): tuple(e[k] for k in counts)
        for e in run.records("ledger")
        if e["window_end_ms"] <= run.end
    }
    of_backfill = {
        (e["topic"], e["partition"], e["window_end_ms"]): tuple(e[k] for k in counts)
        for e in backfill.rows("ledger")
        if e["window_end_ms"] <= run.end
    }
    assert stream == of_backfill
    assert all(entry[0] == sum(entry[1:]) for entry in stream.values())
    assert sum(entry[2] for entry in stream.values()) == 2 + len(run.odd)


def test_segments_equal_the_backfills(run: Run, backfill: CellQuery) -> None:
    mine = {r["customer"]: r for r in run.records("segments") if r["tenant"] == run.tenant}
    assert mine == {row["customer"]: row for row in backfill.rows("segments")}


def test_hostile_lines_get_the_verdicts_and_cells_of_a_backfill(demand_job: Settings) -> None:
    run = HostileRun(demand_job)
    run.send()
    until(f"{MINUTES} minutes of batches of every bucket; got {len(run.batches())}", run.closed, 180)
    backfill = CellQuery(run.lines())
    said = {(r["topic"], r["partition"], r["offset"]): (r["field"], r["code"]) for r in run.records("rejected")}
    assert said == {
        (r["topic"], r["partition"], r["offset"]): (r["field"], r["code"]) for r in backfill.rows("rejected")
    }
    assert len({code for _, code in said.values()}) > 8
    assert compare(run.every_batch(), backfill, until_ms=run.end) == []


def test_the_raw_archive_holds_every_line(run: Run) -> None:
    sent = {(topic, p, o): line for topic, lines in run.lines().items() for p, o, _, line in lines}

    def archived() -> bool:
        try:
            pieces = list(raw_lines(run.settings.archive_dir))
        except FileNotFoundError:
            return False
        found: dict[tuple[str, int, int], bytes | None] = {}
        for c in pieces:
            for topic, p, o, ts, line in zip(
                c["topic"], c["p"], c["o"], c["kafka_ts_ms"], c["line_bytes"], strict=True
            ):
                if ts >= run.start:
                    assert (topic, p, o) not in found, "a line stands twice in the archive"
                    found[topic, p, o] = line
        return found == sent

    until("every line in Parquet", archived, 90)


def test_a_killed_taskmanager_changes_no_cell(demand_job: Settings, local_platform: Any) -> None:
    run = Run(demand_job)
    middle = run.t + 20_000
    run.send(upto_ms=middle)
    until("the first batches", run.batches, 180)
    run.send(after_ms=middle)
    for pid in local_platform.pids("taskmanager"):
        os.kill(pid, signal.SIGKILL)
    local_platform.wait(["taskmanager"], timeout_s=120)
    # A restarted source knows no watermark until its next record, which is what the ticker is for: it goes on.
    run.send_heartbeat(run.end + MINUTE)
    local_platform.wait(job_names=["demand_job"], timeout_s=180)
    run.send_heartbeat(run.end + 2 * MINUTE)
    until(f"{MINUTES} minutes of batches after a kill; got {len(run.batches())}", run.closed, 180)
    backfill = CellQuery(run.lines())
    assert compare(run.every_batch(), backfill, until_ms=run.end) == []
    refused = {(r["topic"], r["partition"], r["offset"]) for r in run.records("rejected")}
    assert refused == {(r["topic"], r["partition"], r["offset"]) for r in backfill.rows("rejected")}
