"""``walras``: the questions and commands of the people who run the market.

Exit codes of every command: 0 it is so, or it is done; 1 it is not so (a difference, no such listing,
a part that is not well); 2 wrong use; 3 a part that is needed does not answer. ``--json`` prints data.

Over 300 lines: one short function a command, kept together because ``walras --help`` is read as one page.
"""

from __future__ import annotations

import getpass
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from features.catalog import EVENT_TIMESTAMP
from jobs.runtime.explanation import explain as explained
from jobs.runtime.explanation import learned_of, text, when
from jobs.runtime.health import UNREACHABLE, parts
from jobs.runtime.kafka import Record, ensure_topics, read_newest_first, read_topic
from jobs.runtime.kafka_offsets import TopicEnds
from jobs.runtime.ledger_book import add_up
from jobs.runtime.operator_commands import (
    OperatorError,
    Target,
    make_command,
    parse_target,
    parse_until,
    publish_command,
)
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.redis_price_table import RedisPriceTables
from jobs.runtime.redis_rebuild import rebuild
from jobs.runtime.settings import Settings
from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT, CommandKind, Listing
from schemas.money import Money, MoneyError
from schemas.price_table import price_key, segment_key
from schemas.topics import INPUTS, TOPICS

NO, WRONG_USE, UNREACHED = 1, 2, 3

commands = typer.Typer(
    name="walras",
    help="Ask the running market why a price is what it is, check its records, and tell it what to do.\n\n"
    "Exit codes: 0 yes or done, 1 no, 2 wrong use, 3 a part does not answer. "
    "Addresses come from WALRAS_… or the running local platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print data (JSON), nothing else.")]
ListingKey = Annotated[str, typer.Argument(help="tenant/market/sku", metavar="LISTING")]
Scope = Annotated[str, typer.Argument(help="tenant, tenant/market or tenant/market/sku", metavar="TARGET")]
Operator = Annotated[str, typer.Option("--operator", help="Who says so; by default the user of this machine.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the command.")]


def _out(data: Any, lines: Iterable[str], as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        for line in lines:
            typer.echo(line)


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"walras: {message}", err=True)
    return typer.Exit(WRONG_USE)


def _listing(key: str) -> Listing:
    try:
        return Listing.parse(key)
    except ValueError as error:
        raise _wrong(str(error)) from None


def _tables(settings: Settings) -> RedisPriceTables:
    return RedisPriceTables(settings.redis.get_secret_value())


def _values(settings: Settings, name: str) -> Iterator[dict[str, Any]]:
    return (record.json() for record in read_topic(settings.kafka, TOPICS[name].topic) if record.value)


def _newest(settings: Settings, name: str, wanted: Callable[[Record], bool], order: str) -> dict[str, Any] | None:
    """The newest of the records that are wanted, by a field that only rises; read from the topic's end."""
    for stretch in read_newest_first(settings.kafka, TOPICS[name].topic):
        if found := [record.json() for record in stretch if record.value and wanted(record)]:
            return max(found, key=lambda value: int(value[order]))
    return None


def _is(record: Record, decision_id: str) -> bool:
    # Decoded only if the id stands in it: a decision is some kilobytes, and an old one is behind many.
    return decision_id.encode() in (record.value or b"") and record.json()["decision_id"] == decision_id


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


# ---- questions ----


@commands.command()
def explain(listing: ListingKey, as_json: AsJson = False) -> None:
    """Tell why a listing's price is what it is: its table, what is learned, and the newest decision.

    Read from the ends of the `tables`, `features` and `decisions` topics; --json gives the decision's whole
    record with it.
    """
    settings, key = Settings.load(), _listing(listing).key
    orders = {"tables": "version", "decisions": "decided_at_ms", "features": EVENT_TIMESTAMP}
    found = {name: _newest(settings, name, lambda record: record.key == key, by) for name, by in orders.items()}
    learned = found["features"]
    said = explained(key, found["decisions"], found["tables"], learned and learned_of(learned))
    _out(said, [text(said)], as_json)
    if not (found["tables"] or found["decisions"]):
        raise typer.Exit(NO)


@commands.command()
def recompute(
    decision_id: Annotated[str, typer.Argument(help="A decision's id; left out with --all.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every decision of the topic.")] = False,
    without_offer: Annotated[
        bool, typer.Option("--without-offer", help="Decide again as if no rival were known; count what changes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute decisions from their own records and compare the results bit for bit.

    Exit code 1 when any result differs from its record. With --without-offer the code stays 0: there a
    difference is what the rivals' offers changed, not a fault.
    """
    # Here, since the optimizer's numpy and scipy take longer to import than the other questions to answer.
    from jobs.runtime.audit import Audit

    if bool(decision_id) == every:
        raise _wrong("recompute: expected a decision id or --all")
    settings = Settings.load()
    if every:
        asked = _values(settings, "decisions")
    else:
        one = _newest(settings, "decisions", lambda record: _is(record, decision_id), "decided_at_ms")
        asked = iter([one] if one else [])
    audit = Audit.of(asked, without_offer=without_offer)
    for name, why in audit.refusals.items():
        typer.echo(f"walras: {name}: {why}", err=True)
    data: dict[str, Any] = {"recomputed": audit.recomputed, "differing": audit.differing}
    lines = [
        f"{audit.recomputed} decisions recomputed, {len(audit.differing)} differ",
        *(f"  {name}" for name in audit.differing[:50]),
    ]
    if without_offer:
        data["different_without_offer"] = audit.moved.total()
        lines.append(f"{audit.moved.total()} come out differently without the rivals' offers")
    _out(data, lines, as_json)
    if decision_id and not audit.recomputed:
        typer.echo(f"walras: no decision {decision_id!r} in the topic", err=True)
        raise typer.Exit(NO)
    if audit.differing:
        raise typer.Exit(NO)


@commands.command()
def quote(
    listing: ListingKey,
    customer: Annotated[str, typer.Option(help="Customer id, made a pseudonym here.")] = "",
    known_as: Annotated[str, typer.Option("--pseudonym", help="The pseudonym itself.")] = "",
    arm: str = DEFAULT_ARM,
    as_json: AsJson = False,
) -> None:
    """Read a customer's price from Redis alone: the two look-ups of the public layout and an MD5.

    Nothing is logged: this is no quote to a shopper.
    """
    if bool(customer) == bool(known_as):
        raise _wrong("quote: expected --customer or --pseudonym")
    settings, where = Settings.load(), _listing(listing)
    who = known_as or pseudonym(settings.edge_secret.get_secret_value(), customer)
    tables = _tables(settings)
    table = tables.get(where)
    if table is None:
        typer.echo(f"walras: nothing at {price_key(where)}; `walras tables` lists what there is", err=True)
        raise typer.Exit(NO)
    segment = tables.segment(where.tenant, who) or DEFAULT_SEGMENT
    price, propensity = table.pick(who, segment, arm)
    data = {
        "listing": where.key, "pseudonym": who, "segment": segment, "price_minor": price,
        "price": str(Money(price, table.currency)), "propensity": propensity, "version": table.version,
        "table_id": table.table_id, "expires_ms": table.expires_ms,
        "keys": [price_key(where), segment_key(where.tenant, who)],
    }  # fmt: skip
    _out(data, _columns([(name, str(value)) for name, value in data.items()]), as_json)


@commands.command()
def tables(
    under: Annotated[str, typer.Argument(help="tenant, tenant/market or tenant/market/sku")] = "",
    as_json: AsJson = False,
) -> None:
    """List the price tables in Redis. Exit code 1 when there is none."""
    store = _tables(Settings.load())
    wanted = sorted(x for x in store.listings() if not under or f"{x.key}/".startswith(f"{under}/"))
    found = store.get_many(wanted)
    rows = [
        (x.key, str(Money(t.default_minor, t.currency)), str(t.version), when(t.expires_ms), t.reason)
        for x, t in found.items()
    ]
    head = ("listing", "default price", "version", "expires", "reason")
    _out([t.to_record() for t in found.values()], _columns([head, *rows]) if rows else ["no tables"], as_json)
    if not rows:
        raise typer.Exit(NO)


@commands.command()
def rejected(
    show: Annotated[bool, typer.Option("--show", help="Each record with its address and its line.")] = False,
    code: Annotated[str, typer.Option(help="Only this reason code.")] = "",
    as_json: AsJson = False,
) -> None:
    """Count the refused records by topic, field and reason; --show lists them."""
    settings = Settings.load()
    found = {(v["topic"], v["partition"], v["offset"]): v for v in _values(settings, "rejected")}
    refused = [v for _, v in sorted(found.items()) if not code or v["code"] == code]
    cells = [v for v in _values(settings, "rejected_cells") if not code or v.get("code") == code]
    counts = Counter((v["topic"], v["field"], v["code"]) for v in refused)
    counts.update(("cells", "listing", str(v.get("code"))) for v in cells)
    rows = [(str(n), *key) for key, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    lines = _columns([("records", "topic", "field", "code"), *rows]) if rows else iter(["nothing was refused"])
    if show:
        lines = (f"{v['topic']}-{v['partition']}-{v['offset']}  {v['field']}  {v['code']}  {v['line'][:200]}"
                 for v in refused)  # fmt: skip
    data = {
        "counts": [{"records": n, "topic": t, "field": f, "code": c} for (t, f, c), n in sorted(counts.items())],
        "records": refused if show else None,
    }
    _out(data, lines, as_json)


@commands.command()
def ledger(
    final: Annotated[
        bool, typer.Option("--final", help="Also demand that every record is accounted for (a replay's end).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Balance what was read: per input partition, offsets read = on time + late + rejected + ticks.

    Exit code 1 when a partition does not balance (with --final: or is behind its topic's end).
    """
    settings = Settings.load()
    ends = TopicEnds(settings.kafka, [topic.topic for topic in INPUTS]).now()
    found = add_up(_values(settings, "ledger"), ends)
    bad = [b for b in found if b.difference or (final and b.behind)]
    head = ("topic", "partition", "read", "on time", "late", "rejected", "ticks", "difference", "behind")
    rows = [
        tuple(map(str, (b.topic, b.partition, b.offsets_read, b.on_time, b.late, b.rejected, b.ticks, b.difference,
                        b.behind)))
        for b in found
    ]  # fmt: skip
    data = [asdict(b) | {"difference": b.difference, "behind": b.behind} for b in found]
    verdict = (
        f"{len(bad)} of {len(found)} partitions do not balance" if bad else f"{len(found)} partitions balance"
    )
    _out({"balanced": not bad, "partitions": data}, [*_columns([head, *rows]), verdict], as_json)
    if bad or not found:
        raise typer.Exit(NO)


@commands.command()
def status(as_json: AsJson = False) -> None:
    """Say how each part is. Exit code 1 when one is not well."""
    settings = Settings.load()
    found = parts(settings, _tables(settings))
    rows = [("ok" if part.ok else "NOT WELL", part.name, part.note) for part in found]
    clock = settings.the_clock
    now = f"run time {when(clock.now_ms())}, {clock.speed:g} times the wall's"
    _out({"run_time_ms": clock.now_ms(), "parts": [p._asdict() for p in found]}, [now, *_columns(rows)], as_json)
    if not all(part.ok for part in found):
        raise typer.Exit(NO)


@commands.command(name="data-check")
def data_check(
    kind: Annotated[str, typer.Argument(help="features, or an input: quotes, clicks, orders …", metavar="KIND")],
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of Parquet files; by default the run's archive.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge archived Parquet by what FEATURES or an input's contract promises (Great Expectations).

    An input's raw lines are judged as sources sent them, refused ones included. Exit code 1 when a rule fails.
    """
    # Here, since Great Expectations takes seconds to import.
    from jobs.runtime.data_quality import FEATURES_KIND, check_folder

    archive = Settings.load().archive_dir
    where = folder or (archive / FEATURES_KIND if kind == FEATURES_KIND else archive / "raw" / f"stream={kind}")
    try:
        report = check_folder(kind, where)
    except (ValueError, FileNotFoundError) as error:
        raise _wrong(f"data-check: {error}") from None
    data = {"kind": kind, "folder": str(where), "rows": report.rows, "rules": report.rules,
            "failures": [str(failure) for failure in report.failures]}  # fmt: skip
    _out(data, [str(report)], as_json)
    if not report.success:
        raise typer.Exit(NO)


# ---- set-up and repair ----


@commands.command()
def topics(
    partitions: Annotated[int, typer.Option(help="Partitions of new topics; 0: as TOPICS says.")] = 0,
) -> None:
    """Create the topics that are missing, with their settings."""
    settings = Settings.load()
    try:
        created = ensure_topics(settings.kafka, partitions=partitions or None, parallelism=settings.parallelism)
    except ValueError as error:
        raise _wrong(f"topics: {error}") from None
    typer.echo("\n".join(created) or "all topics are there")


@commands.command(name="rebuild-redis")
def rebuild_redis(
    epoch: Annotated[str, typer.Option(help="Name of the new epoch; by default the wall's time.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bring a lost Redis back from Kafka: each listing's highest version over `tables` and `decisions`.

    Writers are refused until it is done; an edge serves what it has cached meanwhile.
    """
    settings = Settings.load()
    began = time.monotonic()
    done = rebuild(
        _tables(settings),
        settings.kafka,
        epoch=epoch or str(round(time.time() * 1000)),
        progress=lambda line: None,
    )
    took = time.monotonic() - began
    line = (
        f"{done.listings} listings from {done.read} records in {took:.1f} s; {done.unreadable} unreadable; ready"
    )
    _out(done._asdict() | {"seconds": took}, [line], as_json)
    if done.unreadable:
        raise typer.Exit(NO)


# ---- commands to the market ----


def _send(
    kind: CommandKind, target: Target, operator: str, *, reason: str = "", until: str = "", **more: Any
) -> None:
    settings = Settings.load()
    now_ms = settings.the_clock.now_ms()
    try:
        if until:
            more["until_ms"] = parse_until(until, now_ms)
        command = make_command(
            kind, target, operator=operator or getpass.getuser(), now_ms=now_ms, reason=reason or None, **more
        )
    except OperatorError as error:
        raise _wrong(str(error)) from None
    publish_command(settings, command)
    at = "/".join(part for part in target if part)
    typer.echo(f"{kind.value} {at}: published as {command.event_id} at {when(now_ms)}")


def _scope(text: str) -> Target:
    try:
        return parse_target(text or Settings.load().tenant)
    except OperatorError as error:
        raise _wrong(str(error)) from None


@commands.command()
def settle(tenant: Annotated[str, typer.Argument()] = "", operator: Operator = "", reason: Reason = "") -> None:
    """Optimize every listing again from what is believed now, pace limits aside."""
    _send(CommandKind.SETTLE, _scope(tenant), operator, reason=reason)


@commands.command()
def freeze(
    target: Scope,
    until: Annotated[
        str, typer.Option(help="90m, 2h, 3d of the run's time, or an ISO date; else until unfrozen.")
    ] = "",
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Hold prices as they are."""
    _send(CommandKind.FREEZE, _scope(target), operator, reason=reason, until=until)


@commands.command()
def unfreeze(target: Scope, operator: Operator = "", reason: Reason = "") -> None:
    """Let frozen prices move again."""
    _send(CommandKind.UNFREEZE, _scope(target), operator, reason=reason)


@commands.command()
def approve(listing: ListingKey, decision_id: str, operator: Operator = "", reason: Reason = "") -> None:
    """Approve a decision that waits: its candidate may be reached in one step."""
    _send(CommandKind.APPROVE, _scope(_listing(listing).key), operator, reason=reason, decision_id=decision_id)


@commands.command()
def reject(listing: ListingKey, decision_id: str, operator: Operator = "", reason: Reason = "") -> None:
    """Reject a decision that waits for approval."""
    _send(CommandKind.REJECT, _scope(_listing(listing).key), operator, reason=reason, decision_id=decision_id)


@commands.command(name="manual-price")
def manual_price(
    listing: ListingKey,
    price: Annotated[str, typer.Argument(help="Amount in major units, e.g. 19.99")],
    currency: Annotated[str, typer.Argument(help="The listing's currency, e.g. USD")],
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Set a price by hand; the hard guardrails still hold."""
    try:
        minor = Money.from_major(price, currency).minor
    except MoneyError as error:
        raise _wrong(str(error)) from None
    _send(CommandKind.MANUAL_PRICE, _scope(_listing(listing).key), operator, reason=reason, price_minor=minor)


@commands.command(name="sale-target")
def sale_target(
    listing: ListingKey,
    units: Annotated[int, typer.Argument(help="Units to sell until then.", min=0)],
    until: Annotated[str, typer.Option(help="90m, 2h, 3d of the run's time, or an ISO date.")],
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Set how many units may be sold until a time; prices follow the target."""
    _send(
        CommandKind.SALE_TARGET, _scope(_listing(listing).key), operator, reason=reason, until=until, units=units
    )


@commands.command(name="kill-switch")
def kill_switch(
    tenant: Annotated[str, typer.Argument()] = "", operator: Operator = "", reason: Reason = ""
) -> None:
    """Stop publishing prices for a tenant at once; the tables that stand go on until they end."""
    _send(CommandKind.KILL_SWITCH, _scope(tenant), operator, reason=reason)


@commands.command()
def resume(tenant: Annotated[str, typer.Argument()] = "", operator: Operator = "", reason: Reason = "") -> None:
    """Publish prices again after a kill switch."""
    _send(CommandKind.RESUME, _scope(tenant), operator, reason=reason)


def app() -> None:
    """Run a command; a part that does not answer is a sentence and exit code 3, not a stack."""
    try:
        commands()
    except UNREACHABLE as error:
        typer.echo(f"walras: a part does not answer: {error}; `walras status` says which", err=True)
        raise SystemExit(UNREACHED) from None


if __name__ == "__main__":
    app()
