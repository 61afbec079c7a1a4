"""walras keys: issue, list, rotate and revoke access keys; a link that signs in once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.access.key_files import ADMIN, read_key, sign_in_link
from jobs.access.keys import EVERY_TENANT, KeyIssueError, kind_of_record
from jobs.access.roles import KeyKind, Role
from jobs.cli.base import AsJson, columns, commands, out, wrong
from jobs.connectors.kafka import access_keys
from jobs.connectors.kafka.access_keys import UnknownKeyError, wall_ms
from jobs.runtime.settings import Settings
from schemas.records.operator_events import AccessKey

keys = typer.Typer(
    help="Access keys of the quote port and the operator port: issue, list, rotate, revoke.\n\n"
    "A key is shown once; the deployment keeps its SHA-256. Every instance knows a change within a second.\n\n"
    "A key for prices states where it is used: `backend`, on the shop's servers, or `public`, in browsers, apps "
    "and partners' programs. The quote port looks for probing by each address of a public key.",
    no_args_is_help=True,
)
commands.add_typer(keys, name="keys")

KeyId = Annotated[str, typer.Argument(help="id in `walras keys list`", metavar="KEY_ID")]


@keys.command(name="issue")
def issue_command(
    author: Annotated[str, typer.Argument(help="name of the holder, a person or a program", metavar="NAME")],
    role: Annotated[Role, typer.Option(help="what the holder may do")],
    tenant: Annotated[
        str, typer.Option(help="the one tenant that it may see, by default the run's; * for every tenant")
    ] = "",
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="days until it expires")] = 90,
    kind: Annotated[KeyKind, typer.Option(help="where a key for prices is used")] = KeyKind.PUBLIC,
) -> None:
    """Issue a key and print it; it is kept nowhere."""
    settings = Settings.load()
    seen = EVERY_TENANT if tenant == "*" else tenant or settings.tenant
    try:
        text, record = access_keys.issue(settings, author, role, seen, days, kind)
    except KeyIssueError as error:
        raise wrong(f"keys: {error}") from None
    typer.echo(text)
    typer.echo(f"{_line(record)}; this text is not shown again", err=True)
    if record.kind == KeyKind.PUBLIC:
        typer.echo(
            f"the key is public: an address that asks for too much gets the default price; if the shop's servers "
            f"use it, run `walras keys set-kind {record.key_id} backend`",
            err=True,
        )


@keys.command(name="list")
def list_command(as_json: AsJson = False) -> None:
    """List every key, without its text."""
    found = access_keys.read_ring(Settings.load()).records()
    now_ms = wall_ms()
    head = ("key id", "holder", "role", "kind", "tenant", "issued", "expires", "state")
    rows = [
        (each.key_id, each.author, each.role, kind_of_record(each) or "", each.tenant or "every",
         _day(each.issued_ms), _day(each.expires_ms), _state(each, now_ms))
        for each in found
    ]  # fmt: skip
    data = [
        {"key_id": each.key_id, "author": each.author, "role": each.role, "kind": kind_of_record(each),
         "tenant": each.tenant, "issued_ms": each.issued_ms, "expires_ms": each.expires_ms,
         "revoked_ms": each.revoked_ms}
        for each in found
    ]  # fmt: skip
    out(data, columns([head, *rows]), as_json)


@keys.command(name="rotate")
def rotate_command(key_id: KeyId) -> None:
    """Replace a key's text and print the new one; the old one is refused from now on."""
    try:
        text, _ = access_keys.rotate(Settings.load(), key_id)
    except (UnknownKeyError, KeyIssueError) as error:
        raise wrong(f"keys: {error}") from None
    typer.echo(text)


@keys.command(name="set-kind")
def set_kind_command(
    key_id: KeyId, kind: Annotated[KeyKind, typer.Argument(help="where the key is used", metavar="KIND")]
) -> None:
    """State where a key for prices is used: backend or public. Its text stays."""
    try:
        record = access_keys.set_kind(Settings.load(), key_id, kind)
    except (UnknownKeyError, KeyIssueError) as error:
        raise wrong(f"keys: {error}") from None
    typer.echo(_line(record))


@keys.command(name="revoke")
def revoke_command(key_id: KeyId) -> None:
    """Refuse a key from now on."""
    try:
        record = access_keys.revoke(Settings.load(), key_id)
    except UnknownKeyError as error:
        raise wrong(f"keys: {error}") from None
    typer.echo(f"{_line(record)}: revoked")


@keys.command(name="local")
def local_command(
    name: Annotated[str, typer.Argument(help="admin, or shop for quotes", metavar="NAME")] = ADMIN,
) -> None:
    """Print a key that the local platform issued, for programs on this machine."""
    path = Settings.load().keys_folder / f"{name}.json"
    try:
        typer.echo(read_key(path).text)
    except OSError as error:
        raise wrong(f"keys: expected a readable file {path} ({error.strerror}); `make up` writes it") from None


@keys.command(name="link")
def link_command() -> None:
    """Print a link that signs the local platform's administrator in once, within half an hour."""
    settings = Settings.load()
    try:
        typer.echo(sign_in_link(settings, wall_ms()))
    except OSError as error:
        raise wrong(f"keys: {error}") from None


def _line(record: AccessKey) -> str:
    tenant = "every tenant" if record.tenant == EVERY_TENANT else record.tenant
    kind = kind_of_record(record)
    role = f"{record.role} ({kind})" if kind else record.role
    return f"key {record.key_id} of {record.author}, {role}, {tenant}, until {_day(record.expires_ms)}"


def _state(record: AccessKey, now_ms: int) -> str:
    if record.revoked_ms is not None:
        return f"revoked {_day(record.revoked_ms)}"
    return "expired" if now_ms >= record.expires_ms else "accepted"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
