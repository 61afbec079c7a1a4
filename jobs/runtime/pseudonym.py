"""Pseudonyms of customers: a keyed hash, so that no customer id enters the system.

The hash is keyed because an unkeyed hash of a customer number can be reversed by hashing all numbers. Every
process with the same key (the edge, and an adapter that writes the same customers' orders) computes the same
pseudonym. If the key is destroyed, pseudonyms can no longer be assigned to customers.

The local platform generates the key at its first start (:func:`create_key`). A deployment without its
state folder sets ``WALRAS_EDGE_SECRET`` instead (:mod:`jobs.runtime.settings`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

KEY_BYTES = 32
"""Length of a generated key: 256 bits."""
PUBLISHED_KEY = "local-only"
"""A key that was published as a default. It is not secret and is refused."""


def create_key(path: Path) -> None:
    """Write a new random key to ``path`` with permissions 0600; keep an existing key."""
    create_secret(path, lambda: secrets.token_hex(KEY_BYTES))


def create_secret(path: Path, content: Callable[[], str]) -> None:
    """Write a new secret to ``path`` with permissions 0600; keep an existing one.

    Processes that start at the same time all read the same complete secret.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content())
        # A hard link, unlike a rename, cannot replace a key that another process has just written.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def pseudonym(secret: str, customer: str) -> str:
    """Return 32 hex digits: BLAKE2b of the customer id under the deployment's key.

    Examples
    --------
    >>> pseudonym("key", "customer-1") == pseudonym("key", "customer-1")
    True
    >>> pseudonym("key", "customer-1") == pseudonym("other key", "customer-1")
    False
    >>> len(pseudonym("key", "customer-1"))
    32
    """
    # BLAKE2b takes at most 64 bytes of key: a longer secret is hashed first.
    key = secret.encode()
    if len(key) > 64:
        key = hashlib.blake2b(key).digest()
    return hashlib.blake2b(customer.encode(), key=key, digest_size=16).hexdigest()
