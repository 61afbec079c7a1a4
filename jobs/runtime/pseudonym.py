"""Pseudonyms: a keyed hash of a customer id, so that no id of a person enters the system.

Why keyed: an unkeyed hash of a customer number can be undone by trying all numbers. Whoever holds
the key (the edge, and an adapter that writes the same customers' orders) gets the same pseudonym;
destroying the key forgets everyone.
"""

from __future__ import annotations

import hashlib


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
