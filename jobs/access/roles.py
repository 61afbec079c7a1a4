"""Role and Permission: who may ask what. The one table of both is :data:`PERMISSIONS`.

KeyKind says where a key is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """What a request may do."""

    QUOTE = "quote"
    """Ask prices for customers."""
    READ = "read"
    """See prices, their reasons in words, and the health of components."""
    ANALYSE = "analyse"
    """See costs, beliefs, evidence, decision records, policies and refused records."""
    COMMAND = "command"
    """Send commands: approvals, freezes, policy patches and the others."""
    MANAGE_KEYS = "manage_keys"
    """Issue, list, rotate and revoke keys."""


class Role(StrEnum):
    """What the holder of a key works as."""

    QUOTES = "quotes"
    """A shop's servers, which ask for prices."""
    READER = "reader"
    ANALYST = "analyst"
    PRICING_MANAGER = "pricing_manager"
    ADMIN = "admin"


class KeyKind(StrEnum):
    """Where a key that may ask for prices is used."""

    BACKEND = "backend"
    """On a shop's servers, which ask for every customer and every listing."""
    PUBLIC = "public"
    """In browsers, apps or a partner's programs. The quote port looks for probing by each address of the key."""


_READER = frozenset({Permission.READ})
_ANALYST = _READER | {Permission.ANALYSE}
_MANAGER = _ANALYST | {Permission.COMMAND}

PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    Role.QUOTES: frozenset({Permission.QUOTE}),
    Role.READER: _READER,
    Role.ANALYST: _ANALYST,
    Role.PRICING_MANAGER: _MANAGER,
    Role.ADMIN: _MANAGER | {Permission.QUOTE, Permission.MANAGE_KEYS},
}


def may(role: str, permission: Permission) -> bool:
    """Return whether a role has a permission; an unknown role has none.

    >>> may("analyst", Permission.ANALYSE), may("analyst", Permission.COMMAND), may("owner", Permission.READ)
    (True, False, False)
    """
    return permission in PERMISSIONS.get(role, ())
