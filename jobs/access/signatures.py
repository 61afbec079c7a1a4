"""Signatures of commands and of keys' records: Ed25519 over the fields.

The operator port and ``walras`` sign with the deployment's private key. repricing_job has the public key alone,
and refuses a command without author, without a role that may send it, or with a wrong signature: who can write
to Kafka cannot thereby command. The signature also covers id, tenant and time, so that it fits no other command,
and a command that is appended again is recognised (:mod:`jobs.pricing.bucket.accepted_commands`).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from jobs.access.roles import Permission, may
from jobs.runtime.pseudonym import create_secret
from schemas.records.operator_events import AccessKey, Command

Verify = Callable[[Command], str]
"""Returns what is wrong with a command, "" for nothing."""


Signed = TypeVar("Signed", Command, AccessKey)


class CommandKeyError(RuntimeError):
    """No usable key of the deployment's signatures; the message says what was expected and what to do."""


def signed_bytes(record: Command | AccessKey) -> bytes:
    """Return what a signature covers: every field that is set but the signature, as JSON with sorted names."""
    values = {each.name: getattr(record, each.name) for each in fields(record) if each.name != "signature"}
    return orjson.dumps(
        {name: value for name, value in values.items() if value is not None}, option=orjson.OPT_SORT_KEYS
    )


class Signer:
    """Signs commands and keys' records with the deployment's private key.

    Parameters
    ----------
    path : PEM file of the key.

    Raises
    ------
    CommandKeyError
        If the file cannot be read or holds no Ed25519 private key.

    Examples
    --------
    >>> import tempfile
    >>> signer = Signer.create(Path(tempfile.mkdtemp()) / "commands.pem")
    >>> command = signer.command(Command("c1", 0, "acme", "settle", "ann"), role="pricing_manager")
    >>> check = verifier(signer.public_key)
    >>> check(command), check(replace(command, tenant="other"))
    ('', 'signature: not that of the operator port over this command')
    """

    def __init__(self, path: Path) -> None:
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise CommandKeyError(
                f"{path}: expected the key that signs commands and access keys ({error.strerror}); copy the "
                "deployment's file, or send the request to an operator port that has it"
            ) from error
        except (ValueError, TypeError) as error:
            raise CommandKeyError(f"{path}: expected an Ed25519 private key as PEM without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise CommandKeyError(f"{path}: expected an Ed25519 private key, got {type(key).__name__}")
        self._key = key

    @classmethod
    def create(cls, path: Path) -> Signer:
        """Return the signer of a file, which is written with a new key and permissions 0600 if it does not exist.

        For the local platform alone: elsewhere a new key would sign what no instance accepts.
        """
        create_secret(path, _new_key)
        return cls(path)

    @property
    def public_key(self) -> str:
        """The public key, 64 hexadecimal digits."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def derived_key(self, purpose: str) -> bytes:
        """Return a secret of 32 bytes for another purpose, the same wherever the private key is."""
        private = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return hmac.digest(private, purpose.encode(), "sha256")

    def command(self, command: Command, role: str) -> Command:
        """Return the command with its author's role and the signature."""
        return self.sign(replace(command, role=role))

    def sign(self, record: Signed) -> Signed:
        """Return the record with the signature."""
        bare = replace(record, signature=None)
        return replace(bare, signature=base64.b64encode(self._key.sign(signed_bytes(bare))).decode())


def is_signed(record: Command | AccessKey, key: Ed25519PublicKey) -> bool:
    """Return whether a record's signature is that of a key over its fields; False for a malformed record."""
    try:
        key.verify(base64.b64decode(record.signature or "", validate=True), signed_bytes(record))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def public_key(text: str) -> Ed25519PublicKey:
    """Return a public key from 64 hexadecimal digits.

    Raises
    ------
    ValueError
        If the text is no public key.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise ValueError(f"command key: expected 64 hexadecimal digits, got {text!r}") from error


def verifier(text: str) -> Verify:
    """Return the check of commands under a public key, which raises as :func:`public_key`."""
    key = public_key(text)

    def check(command: Command) -> str:
        if not command.operator or not command.role or not command.signature:
            missing = [name for name in ("operator", "role", "signature") if not getattr(command, name)]
            return f"{', '.join(missing)}: expected a command signed by the operator port, got none"
        if not may(command.role, Permission.COMMAND):
            return f"role: expected one that may send commands, got {command.role!r}"
        return "" if is_signed(command, key) else "signature: not that of the operator port over this command"

    return check


def _new_key() -> str:
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
