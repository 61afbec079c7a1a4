"""Pseudonyms: a keyed hash of a customer id, so that no id of a person enters the system.

Why keyed: an unkeyed hash of a customer number can be undone by trying all numbers. Whoever holds
the key (the edge, and an adapter that writes the same customers' orders) gets the same pseudonym;
destroying the key forgets everyone.

The local platform generates the key at its first start (:func:`create_key`). A deployment without its
state folder sets ``WALRAS_EDGE_SECRET`` instead (:mod:`jobs.runtime.settings`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

KEY_BYTES = 32
"""Length of a generated key: 256 bits."""
PUBLISHED_KEY = "local-only"
"""The default key of earlier versions. It is public, so it protects nobody and is refused."""


def create_key(path: Path) -> None:
    """Write a new random key to ``path``, readable by its owner alone; keep an existing one.

    Safe when several processes start at once: all of them find the same complete key.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES))
        # A link, unlike a rename, never replaces the key that another process has just written.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def pseudonym(secret: str, customer: str) -> str:
    """32 hex digits: BLAKE2b of the customer id under the deployment's key.

    Examples
    --------
    >>> pseudonym("key", "customer-1") == pseudonym("key", "customer-1")
    True
    >>> pseudonym("key", "customer-1") == pseudonym("other key", "customer-1")
    False
    >>> len(pseudonym("key", "customer-1"))
    32
    """
    # BLAKE2b takes at most 64 bytes of key: a longer secret is hashed down first.
    key = secret.encode()
    if len(key) > 64:
        key = hashlib.blake2b(key).digest()
    return hashlib.blake2b(customer.encode(), key=key, digest_size=16).hexdigest()
