"""Keys of a run's settings and state folder, and codes that sign in once.

The local platform issues two keys at its first start: of an administrator, and of the simulated market's shop.
Their texts lie in files that only the user of the platform can read (0600).
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from pathlib import Path
from typing import NamedTuple

import orjson

from jobs.access.keys import issue_key
from jobs.access.roles import KeyKind
from jobs.access.signatures import CommandKeyError, Signer
from jobs.runtime.pseudonym import create_secret
from jobs.runtime.settings import DATA_CLOCK, Settings
from schemas.records.operator_events import AccessKey
from schemas.time_units import DAY_MS, MINUTE_MS

ADMIN, SHOP = "admin", "shop"
"""Holders of the two keys that the local platform issues; each is in a file of that name."""
LOCAL_KEY_DAYS = 365
"""Days for which a key of the local platform is accepted."""
CODE_MS = 30 * MINUTE_MS
"""Wall time for which a code signs in."""


class LocalKey(NamedTuple):
    """A key of the local platform: its text and its record."""

    text: str
    record: AccessKey


def verification_key(settings: Settings) -> str | None:
    """Return the public key that verifies a run's commands and access keys; None in a replay without one.

    Raises
    ------
    CommandKeyError
        If the run is no replay and has none: every program that writes to Kafka could then command and make keys.

    >>> verification_key(Settings(clock="data", command_key=None)) is None
    True
    """
    if settings.command_key is None and settings.clock != DATA_CLOCK:
        raise CommandKeyError(
            "WALRAS_COMMAND_KEY: expected the public key that verifies commands and access keys, got none; set it "
            "to the value in run/platform.env of the deployment's state folder (`make up` writes it)"
        )
    return settings.command_key


def deployment_signer(settings: Settings) -> Signer:
    """Return what signs commands and access keys for a run.

    Raises
    ------
    CommandKeyError
        If the private key cannot be read, or the run verifies under another public key, so that nothing that is
        signed would be accepted.
    """
    expected, signer = verification_key(settings), Signer(settings.signing_key_file)
    if expected not in (None, signer.public_key):
        raise CommandKeyError(
            f"{settings.signing_key_file}: expected the private key of WALRAS_COMMAND_KEY {expected}, got that of "
            f"{signer.public_key}; copy the deployment's file"
        )
    return signer


def local_key(path: Path, signer: Signer, author: str, role: str, tenant: str) -> LocalKey:
    """Return the key in a file, a backend's; it is issued and its record signed if the file does not exist."""

    def issue() -> str:
        now_ms = round(time.time() * 1000)
        text, record = issue_key(
            author, role, tenant, now_ms=now_ms, expires_ms=now_ms + LOCAL_KEY_DAYS * DAY_MS, kind=KeyKind.BACKEND
        )
        return orjson.dumps({"key": text, "record": signer.sign(record)}).decode()

    create_secret(path, issue)
    return read_key(path)


def read_key(path: Path) -> LocalKey:
    """Return the key in a file.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    found = orjson.loads(path.read_bytes())
    return LocalKey(found["key"], AccessKey(**found["record"]))


def write_code(folder: Path, key_id: str, now_ms: int) -> str:
    """Return a new code that signs the holder of a key in once, within :data:`CODE_MS`.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> code = write_code(folder, "k1", 0)
    >>> use_code(folder, code, 1000), use_code(folder, code, 1000), use_code(folder, "guess", 1000)
    ('k1', None, None)
    """
    code = secrets.token_urlsafe(32)
    folder.mkdir(parents=True, exist_ok=True)
    content = orjson.dumps({"key_id": key_id, "until_ms": now_ms + CODE_MS}).decode()
    create_secret(_code_file(folder, code), lambda: content)
    return code


def use_code(folder: Path, code: str, now_ms: int) -> str | None:
    """Return the id of the key that a code signs in, and use the code up; None if it is not valid."""
    path = _code_file(folder, code)
    try:
        found = orjson.loads(path.read_bytes())
        # Of two requests with the same code, only one removes the file.
        path.unlink()
    except OSError:
        return None
    return found["key_id"] if now_ms < found["until_ms"] else None


def remove_old_codes(folder: Path, now_ms: int) -> None:
    """Remove the codes that were not used in time."""
    for path in folder.glob("*.code"):
        with contextlib.suppress(OSError):
            if orjson.loads(path.read_bytes())["until_ms"] <= now_ms:
                path.unlink()


def sign_in_link(settings: Settings, now_ms: int) -> str:
    """Return a link that signs the local platform's administrator in once.

    Raises
    ------
    OSError
        If the local platform has issued no key yet.
    """
    admin, codes = read_key(settings.keys_folder / f"{ADMIN}.json"), settings.keys_folder / "codes"
    remove_old_codes(codes, now_ms)
    code = write_code(codes, admin.record.key_id, now_ms)
    return f"{settings.console_address}/sign-in?code={code}"


def _code_file(folder: Path, code: str) -> Path:
    return folder / f"{hashlib.sha256(code.encode()).hexdigest()}.code"
