"""Commands that change something: topics, a rebuild of Redis, and one command per handler of ``COMMANDS``."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from inspect import Parameter, Signature
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
    Tenant,
    commands,
    open_tables,
    out,
    parse_listing,
    wrong,
)
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import (
    OperatorError,
    make_command,
    parse_target,
    parse_until,
    publish_command,
)
from jobs.connectors.kafka.publisher import ensure_topics
from jobs.connectors.kafka.redemption_log import EpochReplacedError
from jobs.connectors.redis.rebuild import rebuild, rebuild_segments
from jobs.connectors.redis.redemption_rebuild import rebuild_redemptions
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.pricing.commands import COMMANDS, Argument, CommandHandler
from jobs.runtime.settings import Settings
from schemas.money import Money, MoneyError
from schemas.records.operator_events import CommandKind


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
    """Rebuild a lost Redis from Kafka: each listing's highest version over `tables` and `decisions`; segments;
    redemptions of price locks.

    Writers are refused until it is done; an edge serves what it has cached meanwhile.
    """
    settings = Settings.load()
    began = time.monotonic()
    tables = open_tables(settings)
    with closing(RedemptionStore(settings.redis.get_secret_value())) as store:
        try:
            locks = rebuild_redemptions(store, settings.kafka, settings.run_clock.now_ms())
        except EpochReplacedError as error:
            typer.echo(f"walras: rebuild-redis: {error}; run it again if `walras status` reports Redis", err=True)
            raise typer.Exit(NO) from None
    customers = rebuild_segments(tables, settings.kafka)
    done = rebuild(
        tables,
        settings.kafka,
        epoch=epoch or str(round(time.time() * 1000)),
        progress=lambda line: None,
    )
    took = time.monotonic() - began
    unreadable = done.unreadable + customers.unreadable + locks.unreadable
    line = (
        f"{done.listings} listings from {done.read} records, customers from {customers.records} records "
        f"and {locks.used} used locks from {locks.read} records in {took:.1f} s; {unreadable} unreadable; ready"
    )
    figures = {
        "seconds": took, "purchases": customers.records, "purchases_unreadable": customers.unreadable,
        "redemptions": locks._asdict(),
    }  # fmt: skip
    out(done._asdict() | figures, [line], as_json)
    if unreadable:
        raise typer.Exit(NO)


def command_line(handler: CommandHandler) -> Callable[..., None]:
    """Return the function behind ``walras <kind>``: its parameters are the handler's scope and arguments."""
    parameters = [_scope_parameter(handler.scope)]
    for argument in handler.arguments:
        parameters += _parameters(argument)
    parameters += [_option("operator", Operator, ""), _option("reason", Reason, "")]

    def run(**given: Any) -> None:
        target = given["scope"] if handler.scope != "listing" else parse_listing(given["scope"]).key
        fields = {key: value for each in handler.arguments for key, value in _fields(each, given).items()}
        names = {name: given[name] for name in ("operator", "reason")}
        _send(handler, _target(target), currency=given.get("currency"), **names, **fields)

    run.__doc__ = handler.help
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _scope_parameter(scope: str) -> Parameter:
    kinds: dict[str, Any] = {"tenant": Tenant, "target": Scope, "listing": ListingKey}
    default = "" if scope == "tenant" else Parameter.empty
    return Parameter("scope", Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kinds[scope])


def _option(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameters(argument: Argument) -> list[Parameter]:
    """Return the parameters of an argument; ``until_ms`` becomes ``--until``, an amount has a currency."""
    name = argument.name.removesuffix("_ms")
    if argument.kind == "amount":
        price = Annotated[str, typer.Argument(help=argument.help)]
        currency = Annotated[str, typer.Argument(help="The listing's currency, e.g. USD")]
        places = Parameter.POSITIONAL_OR_KEYWORD
        return [Parameter("price", places, annotation=price), Parameter("currency", places, annotation=currency)]
    kind: Any = int if argument.kind == "integer" else str
    if not argument.option:
        least = {"min": 0} if kind is int else {}
        wanted = Annotated[kind, typer.Argument(help=argument.help, **least)]
        return [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=wanted)]
    if argument.required:
        return [_option(name, Annotated[kind, typer.Option(help=argument.help)], Parameter.empty)]
    return [_option(name, Annotated[kind | None, typer.Option(help=argument.help)], None)]


def _fields(argument: Argument, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the command's fields of an argument."""
    if argument.kind == "amount":
        try:
            return {"price_minor": Money.from_major(given["price"], given["currency"]).minor}
        except MoneyError as error:
            raise wrong(str(error)) from None
    value = given[argument.name.removesuffix("_ms")]
    if argument.kind != "until" or value is None:
        return {argument.name: value}
    try:
        return {argument.name: parse_until(value, Settings.load().run_clock.now_ms())}
    except OperatorError as error:
        raise wrong(str(error)) from None


def _send(
    handler: CommandHandler, target: Target, *, operator: str, reason: str, currency: str | None, **fields: Any
) -> None:
    settings, kind = Settings.load(), CommandKind(handler.kind)
    now_ms = settings.run_clock.now_ms()
    try:
        command = make_command(
            kind, target, operator=operator or getpass.getuser(), now_ms=now_ms, reason=reason or None, **fields
        )
        publish_command(settings, command, currency=currency)
    except OperatorError as error:
        raise wrong(str(error)) from None
    listing = target.text if target.sku else "LISTING"
    if handler.decides:
        follows = f"`walras explain {listing}` shows its decision and what guardrails changed, in a few seconds"
    else:
        follows = "it takes effect at once and makes no decision"
    typer.echo(f"{kind.value} {target.text}: published as {command.event_id} at {format_time(now_ms)}; {follows}")


def _target(text: str) -> Target:
    try:
        return parse_target(text or Settings.load().tenant)
    except OperatorError as error:
        raise wrong(str(error)) from None


for _handler in COMMANDS:
    if _handler.help:
        commands.command(name=_handler.kind.replace("_", "-"))(command_line(_handler))
