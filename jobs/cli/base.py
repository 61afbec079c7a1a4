"""Shared by every command of ``walras``: the command line, types of arguments, exit codes, output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import orjson
import typer

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.settings import Settings
from schemas.listings import Listing

NO, WRONG_USE, UNREACHED = 1, 2, 3

commands = typer.Typer(
    name="walras",
    help="Explain prices of the running market, check its records, and send it commands.\n\n"
    "Exit codes: 0 yes or done, 1 no, 2 wrong use, 3 a component does not answer. "
    "Addresses come from WALRAS_… or the running local platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON only.")]
ListingKey = Annotated[str, typer.Argument(help="tenant/market/sku", metavar="LISTING")]
Scope = Annotated[str, typer.Argument(help="tenant, tenant/market or tenant/market/sku", metavar="TARGET")]
Tenant = Annotated[str, typer.Argument(help="tenant; by default the run's", metavar="[TENANT]")]
Operator = Annotated[
    str, typer.Option("--operator", help="Name of the operator; by default the user of this machine.")
]
Reason = Annotated[str, typer.Option("--reason", help="Reason; recorded with the command.")]


def out(data: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print a result: ``data`` as JSON, or its lines."""
    if as_json:
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        for line in lines:
            typer.echo(line)


def wrong(message: str) -> typer.Exit:
    """Print what was expected; return the exit of wrong use, to be raised."""
    typer.echo(f"walras: {message}", err=True)
    return typer.Exit(WRONG_USE)


def parse_listing(key: str) -> Listing:
    """Return a listing by its key; end the command if the key is invalid."""
    try:
        return Listing.parse(key)
    except ValueError as error:
        raise wrong(str(error)) from None


def columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows as lines, each column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def open_tables(settings: Settings) -> RedisPriceTables:
    """Return the run's price tables."""
    return RedisPriceTables(settings.redis.get_secret_value())
