"""``walras quarantine``: the facts and batches on which a logic raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import typer

from jobs.audit.explanation import format_time
from jobs.audit.quarantine import QuarantineRecord, batch_of, find_quarantined, read_quarantine, resend
from jobs.cli.base import NO, AsJson, columns, commands, out, wrong
from jobs.runtime.settings import Settings

quarantine = typer.Typer(
    name="quarantine",
    help="Show the facts and batches on which a job's logic raised an error, and send facts again.\n\n"
    "The job continued without them: a fact was left out, a batch is a gap of one minute for its bucket.",
    no_args_is_help=True,
)
commands.add_typer(quarantine)

Name = Annotated[str, typer.Argument(help="Id of a record, as `walras quarantine list` prints it.", metavar="ID")]


@quarantine.command(name="list")
def list_(
    most: Annotated[int, typer.Option(help="List at most this many of the newest; 0: all.", min=0)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the quarantine records, newest last. The exit code is 0 also when there is none."""
    found = read_quarantine(Settings.load().kafka)
    shown = found[-most:] if most else found
    head = ("id", "time", "logic", "bucket", "kind", "address", "error")
    rows = [
        (
            each.id,
            format_time(r["event_time_ms"]),
            r["logic"],
            r["bucket"],
            r["kind"],
            r["address"] or "-",
            r["error"][:80],
        )
        for each in shown
        for r in (each.record,)
    ]
    lines = [*columns([head, *rows]), f"{len(shown)} of {len(found)} shown"] if rows else ["nothing in quarantine"]
    out([{"id": each.id, **each.record} for each in shown], lines, as_json)


@quarantine.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one record: the error with its traceback, and the fact or the batch."""
    settings = Settings.load()
    found = _find(settings, name)
    batch = batch_of(settings.kafka, found.record)
    out({"id": found.id, **found.record, "batch": batch}, _record_lines(found, batch), as_json)


@quarantine.command()
def replay(
    name: Annotated[str, typer.Argument(help="Id of a record; omitted with --all.", metavar="ID")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every fact in quarantine.")] = False,
) -> None:
    """Send a fact to its input stream again, after the cause of its failure was fixed.

    A batch cannot be sent again, because its minute is over for the bucket; nor can a record internal to a job.
    """
    if bool(name) == every:
        raise wrong("quarantine replay: expected an id or --all")
    settings = Settings.load()
    found = read_quarantine(settings.kafka) if every else [_find(settings, name)]
    facts = [each for each in found if each.resendable]
    if name and not facts:
        kind = found[0].record["kind"]
        typer.echo(f"walras: {name} is of kind {kind!r}, which cannot be sent again, only shown", err=True)
        raise typer.Exit(NO)
    sent = resend(settings.kafka, facts, settings.run_clock.now_ms())
    typer.echo(f"{sent} facts sent again; {len(found) - len(facts)} records can only be shown")


def _find(settings: Settings, name: str) -> QuarantineRecord:
    found = find_quarantined(settings.kafka, name)
    if found is None:
        typer.echo(f"walras: no quarantine record {name!r}; `walras quarantine list` lists the records", err=True)
        raise typer.Exit(NO)
    return found


def _record_lines(found: QuarantineRecord, batch: dict[str, Any] | None) -> Iterator[str]:
    record = found.record
    names = ("logic", "version", "bucket", "kind", "address", "failing_minutes", "error")
    yield from columns([("id", found.id), ("time", format_time(record["event_time_ms"]))])
    yield from columns([(name, str(record[name]) or "-") for name in names])
    yield record["trace"]
    yield "can be sent again with `walras quarantine replay`" if found.resendable else "can only be shown"
    if record["payload"]:
        yield record["payload"]
    elif batch is not None:
        yield orjson.dumps(batch, option=orjson.OPT_INDENT_2).decode()
    else:
        yield "the batch is no longer on the `cells` topic, or has no address"
