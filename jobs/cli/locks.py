"""``walras locks``: verify a price lock, and list and rotate the keys that sign locks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from jobs.audit.explanation import format_time
from jobs.cli.base import NO, AsJson, columns, commands, out, wrong
from jobs.locks.key_file import ROTATION_LEAD_MS, KeyFile
from jobs.locks.keys import LockKeyError, LockKeys
from jobs.locks.tokens import LockError, verify
from jobs.runtime.settings import Settings
from schemas.time_units import MINUTE_MS

locks = typer.Typer(
    name="locks", help="Verify price locks, and list and rotate the keys that sign them.", no_args_is_help=True
)
commands.add_typer(locks)


def _keys(settings: Settings) -> LockKeys:
    file = KeyFile(settings.home)
    if not file.path.exists():
        raise wrong(f"locks: {file.path} does not exist; an edge creates it with its first lock")
    try:
        return file.keys(settings.run_clock.now_ms())
    except LockKeyError as error:
        raise wrong(f"locks: {error}") from None


def _show(keys: LockKeys, now_ms: int, as_json: bool) -> None:
    signing, published = keys.signing(now_ms), keys.published(now_ms)
    rows = [
        (key.kid, format_time(key.signs_from_ms), "signs" if key == signing else "published") for key in published
    ]
    data = [{"kid": kid, "signs_from_ms": key.signs_from_ms, "state": state}
            for key, (kid, _, state) in zip(published, rows, strict=True)]  # fmt: skip
    out(data, columns([("key", "signs from", "state"), *rows]), as_json)


@locks.command(name="verify")
def verify_(
    token: Annotated[str, typer.Argument(help="The token of a price lock.")], as_json: AsJson = False
) -> None:
    """Verify a token with the keys of this deployment. Exit code 1 if it is no valid lock.

    Whether an order has redeemed the lock is not checked.
    """
    settings = Settings.load()
    keys = _keys(settings)
    try:
        lock = verify(token, keys, settings.run_clock.now_ms())
    except LockError as error:
        typer.echo(f"walras: {error.code}: {error}", err=True)
        raise typer.Exit(NO) from None
    data = asdict(lock) | {"listing": lock.listing.key}
    out(data, columns([(name, str(value)) for name, value in data.items()]), as_json)


@locks.command(name="keys")
def keys_(as_json: AsJson = False) -> None:
    """List the published keys, newest first; a key that does not sign yet or any more verifies locks."""
    settings = Settings.load()
    _show(_keys(settings), settings.run_clock.now_ms(), as_json)


@locks.command()
def rotate(
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Remove all former keys at once: outstanding locks become invalid.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Generate a new key. It is published at once and signs after five minutes of run time.

    A former key stays published until the last lock that it has signed has expired. Edges notice the rotation with
    their next lock.
    """
    settings = Settings.load()
    now_ms = settings.run_clock.now_ms()
    try:
        keys = KeyFile(settings.home).rotate(now_ms, revoke=revoke)
    except LockKeyError as error:
        raise wrong(f"locks: {error}") from None
    _show(keys, now_ms, as_json)
    if not as_json and not revoke:
        typer.echo(f"The new key signs in {ROTATION_LEAD_MS // MINUTE_MS} minutes of run time.")
