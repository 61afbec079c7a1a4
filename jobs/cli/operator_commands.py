"""Commands that change something: topics, a rebuild of Redis, and operators' commands to the jobs."""

from __future__ import annotations

import getpass
import time
from typing import Annotated, Any

import typer

from jobs.audit.explanation import format_time
from jobs.cli.base import (
    NO,
    AsJson,
    ListingKey,
    Operator,
    Reason,
    Scope,
    commands,
    open_tables,
    out,
    parse_listing,
    wrong,
)
from jobs.connectors.kafka.commands import (
    OperatorError,
    Target,
    make_command,
    parse_target,
    parse_until,
    publish_command,
)
from jobs.connectors.kafka.publisher import ensure_topics
from jobs.connectors.redis.rebuild import rebuild, rebuild_segments
from jobs.runtime.settings import Settings
from schemas.events import CommandKind
from schemas.money import Money, MoneyError


@commands.command()
def topics(
    partitions: Annotated[int, typer.Option(help="Partitions of new topics; 0: as TOPICS says.")] = 0,
) -> None:
    """Create the topics that are missing, with their settings."""
    settings = Settings.load()
    try:
        created = ensure_topics(settings.kafka, partitions=partitions or None, parallelism=settings.parallelism)
    except ValueError as error:
        raise wrong(f"topics: {error}") from None
    typer.echo("\n".join(created) or "all topics exist")


@commands.command(name="rebuild-redis")
def rebuild_redis(
    epoch: Annotated[str, typer.Option(help="Name of the new epoch; by default the wall time.")] = "",
    as_json: AsJson = False,
) -> None:
    """Rebuild a lost Redis from Kafka: each listing's highest version over `tables` and `decisions`; segments.

    Writers are refused until it is done; an edge serves what it has cached meanwhile.
    """
    settings = Settings.load()
    began = time.monotonic()
    tables = open_tables(settings)
    customers = rebuild_segments(tables, settings.kafka)
    done = rebuild(
        tables,
        settings.kafka,
        epoch=epoch or str(round(time.time() * 1000)),
        progress=lambda line: None,
    )
    took = time.monotonic() - began
    line = (
        f"{done.listings} listings from {done.read} records, customers from {customers.records} records "
        f"in {took:.1f} s; {done.unreadable + customers.unreadable} unreadable; ready"
    )
    figures = {"seconds": took, "purchases": customers.records, "purchases_unreadable": customers.unreadable}
    out(done._asdict() | figures, [line], as_json)
    if done.unreadable or customers.unreadable:
        raise typer.Exit(NO)


def _send(
    kind: CommandKind, target: Target, operator: str, *, reason: str = "", until: str = "", **more: Any
) -> None:
    settings = Settings.load()
    now_ms = settings.run_clock.now_ms()
    try:
        if until:
            more["until_ms"] = parse_until(until, now_ms)
        command = make_command(
            kind, target, operator=operator or getpass.getuser(), now_ms=now_ms, reason=reason or None, **more
        )
    except OperatorError as error:
        raise wrong(str(error)) from None
    publish_command(settings, command)
    at = "/".join(part for part in target if part)
    typer.echo(f"{kind.value} {at}: published as {command.event_id} at {format_time(now_ms)}")


def _scope(text: str) -> Target:
    try:
        return parse_target(text or Settings.load().tenant)
    except OperatorError as error:
        raise wrong(str(error)) from None


@commands.command()
def settle(tenant: Annotated[str, typer.Argument()] = "", operator: Operator = "", reason: Reason = "") -> None:
    """Optimize every listing again from the current beliefs, without pace limits."""
    _send(CommandKind.SETTLE, _scope(tenant), operator, reason=reason)


@commands.command()
def freeze(
    target: Scope,
    until: Annotated[
        str, typer.Option(help="90m, 2h, 3d of run time, or an ISO date; default: until unfrozen.")
    ] = "",
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Keep prices as they are."""
    _send(CommandKind.FREEZE, _scope(target), operator, reason=reason, until=until)


@commands.command()
def unfreeze(target: Scope, operator: Operator = "", reason: Reason = "") -> None:
    """Let frozen prices change again."""
    _send(CommandKind.UNFREEZE, _scope(target), operator, reason=reason)


@commands.command()
def approve(listing: ListingKey, decision_id: str, operator: Operator = "", reason: Reason = "") -> None:
    """Approve a pending decision: its candidate price may be reached in one step."""
    _send(
        CommandKind.APPROVE, _scope(parse_listing(listing).key), operator, reason=reason, decision_id=decision_id
    )


@commands.command()
def reject(listing: ListingKey, decision_id: str, operator: Operator = "", reason: Reason = "") -> None:
    """Reject a pending decision."""
    _send(CommandKind.REJECT, _scope(parse_listing(listing).key), operator, reason=reason, decision_id=decision_id)


@commands.command(name="manual-price")
def manual_price(
    listing: ListingKey,
    price: Annotated[str, typer.Argument(help="Amount in major units, e.g. 19.99")],
    currency: Annotated[str, typer.Argument(help="The listing's currency, e.g. USD")],
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Set a price by hand; the hard guardrails still apply."""
    try:
        minor = Money.from_major(price, currency).minor
    except MoneyError as error:
        raise wrong(str(error)) from None
    _send(CommandKind.MANUAL_PRICE, _scope(parse_listing(listing).key), operator, reason=reason, price_minor=minor)


@commands.command(name="sale-target")
def sale_target(
    listing: ListingKey,
    units: Annotated[int, typer.Argument(help="Units to sell until then.", min=0)],
    until: Annotated[str, typer.Option(help="90m, 2h, 3d of run time, or an ISO date.")],
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Set how many units may be sold until a time; prices follow the target."""
    _send(
        CommandKind.SALE_TARGET,
        _scope(parse_listing(listing).key),
        operator,
        reason=reason,
        until=until,
        units=units,
    )


@commands.command(name="kill-switch")
def kill_switch(
    tenant: Annotated[str, typer.Argument()] = "", operator: Operator = "", reason: Reason = ""
) -> None:
    """Stop publishing prices for a tenant at once; published tables stay in use until they expire."""
    _send(CommandKind.KILL_SWITCH, _scope(tenant), operator, reason=reason)


@commands.command()
def resume(tenant: Annotated[str, typer.Argument()] = "", operator: Operator = "", reason: Reason = "") -> None:
    """Publish prices again after a kill switch."""
    _send(CommandKind.RESUME, _scope(tenant), operator, reason=reason)
