"""Run hostile lines through the chain without containment, and check the invariants of any input."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import orjson

from features.cells.lines import read_line
from infra.reports.fuzz.records import HostileLines
from jobs.audit.recompute import Audit
from jobs.hosting.cell_query import CellQuery
from jobs.hosting.chain import Chain
from jobs.pricing.policy import Policy
from schemas.codes import RejectCode
from schemas.topics import INPUTS, Topic


@dataclass
class Findings:
    """Result of a run: outputs by stream, refusals by code, decisions by cause and outcome, broken invariants."""

    outputs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def run(records: int, *, seed: int, buckets: int, minutes: int) -> Findings:
    """Feed hostile lines to the chain and return the findings.

    Raises
    ------
    jobs.hosting.host.LogicError
        Naming the record that makes a logic raise.
    """
    found = Findings()
    hostile = HostileLines(records, buckets, seed, minutes)
    _check_verdicts(hostile, found)
    audit = Audit()
    for output in Chain(Policy(), buckets).run(hostile.lines):
        found.outputs[output.stream] += 1
        text = orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY)
        if output.stream == "policies":
            audit.policies.take(output.value)
        if output.stream == "decisions":
            decision = orjson.loads(text)
            found.decisions[f"{decision['cause']} {decision['result']['outcome']}"] += 1
            audit.check(decision)
    found.broken += [f"decision {name} does not recompute" for name in audit.differing]
    return found


def _check_verdicts(hostile: HostileLines, found: Findings) -> None:
    """Check that SQL and Python refuse the same lines, and that the ledger contains every offset."""
    query = CellQuery(hostile.lines)
    refused = {(row["topic"], row["partition"], row["offset"]): row for row in query.rows("rejected")}
    found.refused.update(row["code"] for row in refused.values())
    for topic in INPUTS:
        for p, o, kafka_ts_ms, line in hostile.lines.get(topic.topic, ()):
            expected = _verdict(topic, line, kafka_ts_ms)
            row = refused.get((topic.topic, p, o))
            got = (row["field"], row["code"]) if row else None
            duplicate = expected is None and got is not None and got[1] == RejectCode.DUPLICATE_ORDER
            if got != expected and not duplicate:
                text = (line or b"")[:300]
                found.broken.append(f"{topic.topic}-{p}-{o}: SQL {got}, Python {expected}: {text!r}")
    totals: Counter[str] = Counter()
    for row in query.rows("ledger"):
        totals[row["topic"]] += row["offsets_read"]
        parts = row["on_time"] + row["late"] + row["rejected"] + row["ticks"]
        if parts != row["offsets_read"]:
            found.broken.append(f"ledger: {row}")
    for topic_name, lines in hostile.lines.items():
        if totals[topic_name] != len(lines):
            found.broken.append(f"ledger of {topic_name}: {totals[topic_name]} read of {len(lines)}")


def _verdict(topic: Topic, line: bytes | None, kafka_ts_ms: int) -> tuple[str, str] | None:
    verdict, record = read_line(line)
    if verdict is not None:
        return "line", verdict
    if topic.name != "ticks" and record.get("tick") is True:
        return None
    return topic.validate(record, kafka_ts_ms)
