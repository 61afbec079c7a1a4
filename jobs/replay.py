"""Replay recorded data through the same topics that live traffic uses, at a chosen speed.

A mapping file says what the data mean (:mod:`jobs.runtime.mapping`). Records carry their event time
as Kafka timestamp, so a replay of the same files makes the same cells however fast it runs. Ticks
go with the data, and one past the last window closes it.

The platform of a replay runs with ``WALRAS_CLOCK=data``: time is what the data say, and with what
``--prepare`` answers: the mapping's buckets, and its policy over the default one.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import orjson
import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from jobs.pricing.policy import Policy
from jobs.runtime.audit import Audit
from jobs.runtime.cell_query import Line, Lines
from jobs.runtime.chain import FACTS_OF_A_REPLAY, Chain
from jobs.runtime.kafka import Publisher
from jobs.runtime.kafka_offsets import READERS, READERS_OF_A_REPLAY, not_yet_taken
from jobs.runtime.mapping import Made, MappedData, Mapping, MappingError, Refused
from jobs.runtime.settings import Settings
from schemas.events import Rejected
from schemas.topics import INPUTS, MINUTE_MS, TOPICS

MAPPINGS = Path(__file__).parent / "mappings"
app = typer.Typer(add_completion=False, help=__doc__)
console = Console(stderr=True)


class Heartbeat(NamedTuple):
    """A moment at which every bucket and every partition gets its tick."""

    event_time_ms: int


def with_heartbeats(records: Iterable[Made], tick_minutes: int) -> Iterator[Made | Heartbeat]:
    """The records with a heartbeat at every period that has passed, and two past the last window.

    The first closing one lies in the minute after the last record; the second, an hour later, moves
    the watermark past it whatever the lateness.

    >>> a = Made(90_000, "stock", "k", b"{}")
    >>> [x.event_time_ms for x in with_heartbeats([a], 1)]
    [90000, 120000, 3780000]
    """
    period = tick_minutes * MINUTE_MS
    due: int | None = None
    last = 0
    for record in records:
        if due is None:
            due = (record.event_time_ms // period + 1) * period
        while record.event_time_ms >= due:
            yield Heartbeat(due)
            due += period
        yield record
        last = record.event_time_ms
    if due is not None:
        closing = (last // MINUTE_MS + 1) * MINUTE_MS
        yield Heartbeat(closing)
        yield Heartbeat(closing + 61 * MINUTE_MS)


def find_mapping(folder: Path) -> Path:
    """The shipped mapping whose files a folder holds.

    Raises
    ------
    MappingError
        If none or several fit.
    """
    known = {path: Mapping.load(path) for path in sorted(MAPPINGS.glob("*.yaml"))}
    fitting = [path for path, mapping in known.items() if mapping.fits(folder)]
    if len(fitting) != 1:
        offered = "; ".join(f"{m.name} ({', '.join(s.file for s in m.sources.values())})" for m in known.values())
        raise MappingError(
            f"{folder}: expected the files of exactly one mapping, {len(fitting)} fit; "
            f"name one with --mapping. Shipped: {offered}"
        )
    return fitting[0]


def platform_options(mapping: Mapping, home: Path) -> str:
    """What the platform of a replay is started with, as options of ``infra.local up``.

    Writes ``<home>/run/policy.yaml``, the mapping's policy over the default one: jobs read a file, and who
    wonders about a replay's decisions can read the same.
    """
    path = home / "run" / "policy.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = mapping.policy_over(Policy.load(Settings.load().policy))
    path.write_text(yaml.safe_dump(policy.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return f"--set BUCKETS={mapping.buckets} --set POLICY={path}"


def as_rejected(refusal: Refused) -> Rejected:
    """A refused row as a record of `rejected`: its file stands for the topic, its row for the offset."""
    detail = f"row {refusal.row} of {refusal.file}: {refusal.stream} {refusal.field}: got {refusal.got}"
    return Rejected(f"file:{refusal.file}", 0, refusal.row, 0, refusal.field, refusal.code, detail, refusal.got)


def as_lines(stream: Iterable[Made | Heartbeat], buckets: int) -> Lines:
    """Records and ticks as the lines that the broker would keep, one partition a topic.

    >>> made = Made(5, "stock", "k", b"{}")
    >>> {topic: len(list(lines)) for topic, lines in as_lines([made, Heartbeat(60_000)], 2).items()}
    {'pricing.stock.v1': 1, 'pricing.ticks.v1': 2}
    """
    lines: dict[str, list[Line]] = {}
    for item in stream:
        if isinstance(item, Made):
            values = [(item.stream, item.value)]
        else:
            ticks = ({"event_time_ms": item.event_time_ms, "bucket": b, "tick": True} for b in range(buckets))
            values = [("ticks", orjson.dumps(tick)) for tick in ticks]
        for name, value in values:
            of_topic = lines.setdefault(TOPICS[name].topic, [])
            of_topic.append((0, len(of_topic), item.event_time_ms, value))
    return lines


def without_platform(stream: Iterable[Made | Heartbeat], mapping: Mapping) -> tuple[Counter[str], Audit]:
    """The whole way in this process (:mod:`jobs.runtime.chain`): outputs by stream, and the decisions checked."""
    policy = mapping.policy_over(Policy.load(Settings.load().policy))
    outputs: Counter[str] = Counter()
    audit = Audit()
    for output in Chain(policy, mapping.buckets, facts=FACTS_OF_A_REPLAY).run(as_lines(stream, mapping.buckets)):
        outputs[output.stream] += 1
        if output.stream == "decisions":
            # As it would come from the topic: a decision is checked from its JSON.
            audit.take(orjson.loads(orjson.dumps(output.value)), without_offer=True)
    return outputs, audit


def send(stream: Iterable[Made | Heartbeat], publisher: Publisher, buckets: int, speed: float) -> Counter[str]:
    """Send records and ticks; ``speed`` event seconds per second, 0: as fast as the broker takes them."""
    sent: Counter[str] = Counter()
    partitions = {topic.name: publisher.partitions(topic.topic) for topic in INPUTS if topic.name != "ticks"}
    began, first = time.monotonic(), None
    for item in stream:
        if speed > 0:
            first = item.event_time_ms if first is None else first
            ahead = (item.event_time_ms - first) / 1000 / speed - (time.monotonic() - began)
            if ahead > 0.01:
                time.sleep(ahead)
        if isinstance(item, Made):
            publisher.send_bytes(
                TOPICS[item.stream].topic, item.value, timestamp_ms=item.event_time_ms, key=item.key
            )
            sent[item.stream] += 1
            continue
        at = item.event_time_ms
        for bucket in range(buckets):
            tick = {"event_time_ms": at, "bucket": bucket, "tick": True}
            publisher.send("ticks", tick, timestamp_ms=at, key=str(bucket))
        for name, count in partitions.items():
            value = orjson.dumps({"event_time_ms": at, "bucket": -1, "tick": True})
            for partition in range(count):
                publisher.send_bytes(
                    TOPICS[name].topic, value, timestamp_ms=at, partition=partition, key=f"tick-{partition}"
                )
        sent["ticks"] += buckets
    publisher.flush(300)
    return sent


def wait_until_taken(settings: Settings, timeout_s: float) -> None:
    """Wait until every record lies in a completed checkpoint of every job that reads it.

    Raises
    ------
    typer.Exit
        With code 1 when that does not happen in time; says who is behind.
    """
    readers = READERS if settings.host_clock else READERS_OF_A_REPLAY
    with console.status("the jobs are taking it in") as status:

        def tell(state: RetryCallState) -> None:
            left: dict[str, int] = state.outcome.result() if state.outcome else {}
            status.update(", ".join(f"{group} {count} behind" for group, count in left.items() if count))

        asking = Retrying(
            retry=retry_if_result(lambda left: any(left.values())),
            wait=wait_fixed(1),
            stop=stop_after_delay(timeout_s),
            before_sleep=tell,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else {},
        )
        left = asking(not_yet_taken, settings.kafka, readers)
    if any(left.values()):
        console.print(f"not taken within {timeout_s:.0f} s: {left}", style="red", markup=False)
        raise typer.Exit(1)
    typer.echo("every job has taken all of it")


@app.command()
def replay(
    data: Annotated[Path, typer.Option(help="folder with the recorded files", exists=True, file_okay=False)],
    mapping: Annotated[Path | None, typer.Option(help="mapping file; default: the shipped one that fits")] = None,
    speed: Annotated[float, typer.Option(help="event seconds per second; 0: as fast as it goes", min=0)] = 0.0,
    limit: Annotated[int, typer.Option(help="only the first rows of each file; 0: all", min=0)] = 0,
    wait: Annotated[
        float, typer.Option(help="seconds to wait until every job has taken it all; 0: not at all", min=0)
    ] = 0.0,
    alone: Annotated[
        bool,
        typer.Option("--alone", help="run the whole way in this process, without a platform, and say what came"),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="map and judge every row, send nothing")] = False,
    prepare: Annotated[
        Path | None,
        typer.Option(help="write the replay's policy into this state folder, print the platform's options, stop"),
    ] = None,
) -> None:
    """Map recorded files to our streams and send them, with ticks, to the running platform."""
    try:
        chosen = Mapping.load(mapping or find_mapping(data))
        if prepare is not None:
            typer.echo(platform_options(chosen, prepare))
            return
        console.print(f"[bold]{chosen.name}[/]: {chosen.description}")
        for line in chosen.provenance:
            console.print(f"  - {line}", style="dim", markup=False)
        mapped = MappedData(chosen, data, limit=limit)
        records = list(mapped.records())
    except MappingError as error:
        console.print(f"mapping: {error}", style="red", markup=False)
        raise typer.Exit(2) from error
    balanced = _report(mapped, records)
    if alone:
        _tell(*without_platform(with_heartbeats(records, chosen.tick_minutes), chosen))
    elif not check:
        settings = Settings.load()
        with Publisher(settings.kafka) as publisher, _progress() as progress:
            task = progress.add_task("sending", total=len(records))
            items = with_heartbeats(progress.track(records, task_id=task), chosen.tick_minutes)
            sent = send(items, publisher, settings.buckets, speed)
            for refusal in mapped.refused:
                publisher.send("rejected", as_rejected(refusal), timestamp_ms=0)
        typer.echo(json.dumps({"sent": dict(sorted(sent.items()))}))
        if wait:
            wait_until_taken(settings, wait)
    if not balanced:
        raise typer.Exit(1)


def _report(mapped: MappedData, records: list[Made]) -> bool:
    accounts = mapped.balance()
    for account in accounts:
        verdict = "balances" if account.balances else "DOES NOT BALANCE"
        typer.echo(
            f"{account.source}: {account.rows} rows = {account.primary} records + {account.refused} refused "
            f"(+ {account.derived} derived records): {verdict}"
        )
    for (stream, field, code), count in sorted(
        Counter((r.stream, r.field, r.code) for r in mapped.refused).items()
    ):
        typer.echo(f"refused: {count} x {stream or 'row'} {field} {code}")
    if records:
        days = (records[-1].event_time_ms - records[0].event_time_ms) / 86_400_000
        typer.echo(f"{len(records)} records over {days:.1f} days")
    return all(account.balances for account in accounts)


def _tell(outputs: Counter[str], audit: Audit) -> None:
    typer.echo(json.dumps({"outputs": dict(sorted(outputs.items()))}))
    for (cause, outcome), count in sorted(audit.outcomes.items()):
        moved = audit.moved[cause, outcome]
        typer.echo(f"  {cause} {outcome}: {count}" + (f", {moved} otherwise without the offer" if moved else ""))
    typer.echo(
        f"{audit.recomputed} decisions recomputed, {len(audit.differing)} differ; "
        f"{audit.moved.total()} come out differently without the rivals' offers"
    )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


if __name__ == "__main__":
    app()
