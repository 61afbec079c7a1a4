"""ClaimRoles: the role, tenant and name that a provider's claims give a person. Pure.

An OpenID Connect provider states in a claim of the ID token, for example ``groups``, what a user belongs to. The
settings give one role and one tenant per value of that claim. Of the user nothing else is kept than the name under
which commands are recorded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from jobs.access.keys import EVERY_TENANT, NAME_PATTERN, Principal
from jobs.access.roles import Permission, Role, may
from jobs.runtime.provider_settings import ProviderSettings

ANY_TENANT = "*"
"""Tenant of an entry whose users see every tenant."""
SHOWN_VALUES, SHOWN_LENGTH = 5, 40
"""Values of a claim, and characters of each, that a message repeats."""
_ENTRY = re.compile(r"(?P<value>.+)=(?P<role>[a-z_]+)@(?P<tenant>[A-Za-z0-9._-]{1,64}|\*)")


class ClaimRolesError(ValueError):
    """Roles of a claim that cannot be used; the message names the entry, what was expected and what was given."""


class RefusedUserError(Exception):
    """The provider knows the user, but the claims give no role or no name; the message says what was expected."""


class ProviderUser(NamedTuple):
    """A person whom the provider signed in. ``grant``: the entry that gave role and tenant."""

    author: str
    grant: str


class ClaimRoles:
    """Entries ``<value>=<role>@<tenant>`` of the settings; the first that applies to a user counts.

    Raises
    ------
    ClaimRolesError
        If there is no entry, an entry is malformed, or its role may not read.

    Examples
    --------
    >>> roles = ClaimRoles(ProviderSettings(
    ...     oidc_issuer="https://login.example.org", oidc_client_id="walras",
    ...     oidc_roles="pricing=pricing_manager@acme; boards=reader@*"))
    >>> user = roles.user({"sub": "ann", "groups": ["staff", "pricing"]})
    >>> user.author, roles.holder(user, 10).role, roles.holder(user, 10).tenant
    ('ann', 'pricing_manager', 'acme')
    >>> roles.user({"sub": "eve", "groups": ["staff"]})
    Traceback (most recent call last):
    jobs.access.claims.RefusedUserError: claim 'groups': expected one of 'pricing', 'boards', got 'staff'; ...
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self._issuer, self._claim = settings.oidc_issuer or "", settings.oidc_claim
        self._author_claim = settings.oidc_author_claim
        # Value of the claim → role and tenant.
        self._grants: dict[str, tuple[str, str]] = {}
        for entry in filter(None, map(str.strip, (settings.oidc_roles or "").split(";"))):
            value, role, tenant = _read(entry)
            self._grants.setdefault(value, (role, tenant))
        if not self._grants:
            raise ClaimRolesError("WALRAS_OIDC_ROLES: expected <value>=<role>@<tenant>, got no entry; add one")

    def user(self, claims: Mapping[str, Any]) -> ProviderUser:
        """Return who the claims of an ID token belong to.

        Raises
        ------
        RefusedUserError
            If no entry applies, or the claim that names the author cannot be used.
        """
        given = claims.get(self._claim)
        values = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        applying = next((value for value in self._grants if value in values), None)
        if applying is None:
            expected = ", ".join(repr(value) for value in self._grants)
            got = ", ".join(repr(str(value)[:SHOWN_LENGTH]) for value in values[:SHOWN_VALUES]) or "no value"
            raise RefusedUserError(
                f"claim {self._claim!r}: expected one of {expected}, got {got}; ask the provider's administrator "
                "to add you to one of them"
            )
        return ProviderUser(self._author(claims), self._grant(applying))

    def holder(self, user: ProviderUser, expires_ms: int) -> Principal | None:
        """Return whom a session of a user stands for; None if the settings no longer have the entry.

        Parameters
        ----------
        expires_ms : wall time at which the session ends, epoch ms.
        """
        for value, (role, tenant) in self._grants.items():
            if self._grant(value) == user.grant:
                return Principal("", user.author, tenant, role, expires_ms)
        return None

    def _grant(self, value: str) -> str:
        role, tenant = self._grants[value]
        return f"{self._issuer} {self._claim} {value}={role}@{tenant}"

    def _author(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._author_claim)
        if not isinstance(name, str) or not name.strip():
            raise RefusedUserError(
                f"claim {self._author_claim!r}: expected a text that names the author of commands, got none; ask "
                "the provider's administrator to send it"
            )
        if self._author_claim == "email" and claims.get("email_verified") is False:
            raise RefusedUserError("claim 'email': expected a verified address; verify it at the provider")
        if re.fullmatch(NAME_PATTERN, name):
            return name
        return f"user-{hashlib.sha256(f'{self._issuer} {name}'.encode()).hexdigest()[:32]}"


def _read(entry: str) -> tuple[str, str, str]:
    found = _ENTRY.fullmatch(entry)
    readers = [role for role in Role if may(role, Permission.READ)]
    if found is None or found["role"] not in readers:
        raise ClaimRolesError(
            f"WALRAS_OIDC_ROLES: expected <value>=<role>@<tenant> with a role of {', '.join(readers)}, "
            f"got {entry!r}"
        )
    tenant = found["tenant"]
    return found["value"].strip(), found["role"], EVERY_TENANT if tenant == ANY_TENANT else tenant
