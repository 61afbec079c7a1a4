"""KeyRing: the access keys of a deployment, and the check of a presented one.

A key is the text ``walras_<key id>_<secret>`` with a secret of 256 random bits. It is shown once; its record holds
the SHA-256 of the whole text. A plain hash is enough, since no list of guesses contains 256 random bits. Times are
wall times: keys expire whatever the clock of the run.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jobs.access.roles import KeyKind, Permission, Role, may
from schemas.records.operator_events import AccessKey

EVERY_TENANT = ""
"""Tenant of a key that is not bound to one."""
SECRET_BYTES = 32
PREFIX = "walras"
MAX_KEY_LENGTH = 128
"""Longest text that is hashed; a longer one is refused unread."""
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
"""Names of holders."""


class KeyIssueError(ValueError):
    """A key that cannot be issued; the message names the field, what was expected and what was given."""


class Principal(NamedTuple):
    """Who a request comes from.

    ``key_id``: of the key, "" for a provider's user. ``author``: the name that commands record. ``tenant``: the
    one it may see, "" for every tenant. ``expires_ms``: wall time from which the key is refused, or the session
    ends. ``public``: whether the key is used outside the shop's servers, so that the quote port looks for probing.
    """

    key_id: str
    author: str
    tenant: str
    role: str
    expires_ms: int
    public: bool = False

    def may(self, permission: Permission, tenant: str | None = None) -> bool:
        """Return whether the holder has a permission, in a tenant where one is given.

        >>> ann = Principal("k1", "ann", "acme", "analyst", 0)
        >>> ann.may(Permission.READ, "acme"), ann.may(Permission.READ, "other"), ann.may(Permission.COMMAND)
        (True, False, False)
        """
        return may(self.role, permission) and (tenant is None or self.sees(tenant))

    def sees(self, tenant: str) -> bool:
        """Return whether a tenant's data are visible to the holder."""
        return self.tenant in (EVERY_TENANT, tenant)


def issue_key(
    author: str,
    role: str,
    tenant: str,
    *,
    now_ms: int,
    expires_ms: int,
    key_id: str | None = None,
    kind: str = KeyKind.PUBLIC,
) -> tuple[str, AccessKey]:
    """Return a new key's text, to be shown once, and its record.

    Parameters
    ----------
    author : name of the holder: a person or a program.
    tenant : the one tenant that it may see; "" for every tenant.
    now_ms, expires_ms : wall times, epoch ms.
    key_id : None: a new random one.
    kind : where the key is used; recorded for roles that may ask for prices. A key that is not stated to be a
        backend's is public.

    Raises
    ------
    KeyIssueError
        If a field cannot be used.

    Examples
    --------
    >>> text, record = issue_key("ann", "analyst", "acme", now_ms=0, expires_ms=1000)
    >>> text.split("_")[0], record.digest == digest_of(text), record.role, record.kind
    ('walras', True, 'analyst', None)
    >>> issue_key("web-shop", "quotes", "acme", now_ms=0, expires_ms=1000)[1].kind
    'public'
    """
    if role not in Role.__members__.values():
        raise KeyIssueError(f"role: expected one of {', '.join(Role)}; got {role!r}")
    stated = kind_of(role, kind)
    if not re.fullmatch(NAME_PATTERN, author):
        raise KeyIssueError(
            f"name: expected 1 to 64 letters, digits, dots, dashes, underscores, @; got {author!r}"
        )
    if expires_ms <= now_ms:
        raise KeyIssueError("expires: expected a time in the future, got one that has passed")
    name = key_id or secrets.token_hex(6)
    text = f"{PREFIX}_{name}_{secrets.token_urlsafe(SECRET_BYTES)}"
    digest = digest_of(text)
    record = AccessKey(
        name, now_ms, tenant, role, author, digest, expires_ms, None, kind=stated, changed_ms=now_ms
    )
    return text, record


def kind_of(role: str, kind: str) -> str | None:
    """Return the kind that a key's record states; None for a role that asks for no prices.

    Raises
    ------
    KeyIssueError
        If there is no such kind.

    >>> kind_of("quotes", "backend"), kind_of("reader", "backend")
    ('backend', None)
    """
    if kind not in KeyKind.__members__.values():
        raise KeyIssueError(f"kind: expected one of {', '.join(KeyKind)}; got {kind!r}")
    return str(kind) if may(role, Permission.QUOTE) else None


def kind_of_record(record: AccessKey) -> str | None:
    """Return where a key is used; None for a role that asks for no prices.

    A record without a kind is a backend's.
    """
    return kind_of(record.role, record.kind or KeyKind.BACKEND)


def changed_ms(record: AccessKey) -> int:
    """Return the wall time of a key's last change, epoch ms; without it that of the issue or the revocation."""
    return record.changed_ms if record.changed_ms is not None else max(record.issued_ms, record.revoked_ms or 0)


def next_change_ms(record: AccessKey, now_ms: int) -> int:
    """Return the time of a key's next change: now, or just after the last change if the clock lags behind it.

    >>> _, record = issue_key("ann", "reader", "acme", now_ms=5, expires_ms=9)
    >>> next_change_ms(record, 8), next_change_ms(record, 3)
    (8, 6)
    """
    return max(now_ms, changed_ms(record) + 1)


def record_of(value: Any) -> AccessKey:
    """Return a key's record from a decoded value of the topic `access_keys`, to which others may write.

    Raises
    ------
    ValueError
        If the value is no object, or a field has another type than the record's.

    >>> record_of({"key_id": "k1"})
    Traceback (most recent call last):
    ValueError: access key: issued_ms: expected an integer, got None
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"access key: expected an object, got {type(value).__name__}")
    given: dict[str, Any] = {name: value.get(name) for name in AccessKey.__dataclass_fields__}
    for name, held in given.items():
        expected = int if name.endswith("_ms") else str
        if held is None and name in _OPTIONAL:
            continue
        if not isinstance(held, expected) or isinstance(held, bool):
            what = "an integer" if expected is int else "a text"
            raise ValueError(f"access key: {name}: expected {what}, got {held!r}")
    return AccessKey(**given)


_OPTIONAL = ("revoked_ms", "signature", "kind", "changed_ms")


def digest_of(text: str) -> str:
    """Return the hash of a key as its record holds it, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


class KeyRing:
    """The records of keys, newest per key id; checks presented keys.

    The order in which records are taken does not matter, and a record that is taken again changes nothing: a
    revocation is final, and otherwise the last change counts (:func:`changed_ms`). Who can write to Kafka can
    append an older record of a key, whose signature is valid.

    Parameters
    ----------
    records : keys that are known already.
    genuine : whether a record of the topic is the deployment's own; others are ignored. By default every record.

    Attributes
    ----------
    generation : rises with every change, so that a cache of checks knows when to be emptied.

    Examples
    --------
    >>> text, record = issue_key("shop", "quotes", "acme", now_ms=0, expires_ms=1000)
    >>> ring = KeyRing([record])
    >>> ring.check(text, 999).author, ring.check(text, 1000), ring.check(text + "x", 0)
    ('shop', None, None)
    """

    def __init__(
        self, records: Iterable[AccessKey] = (), genuine: Callable[[AccessKey], bool] = lambda record: True
    ) -> None:
        self._genuine = genuine
        self._by_id: dict[str, AccessKey] = {}
        self._by_digest: dict[str, AccessKey] = {}
        self.generation = 0
        for record in records:
            self.take(record)

    def take(self, record: AccessKey) -> None:
        """Take a key's record: issued, rotated or revoked.

        One that is not the deployment's, or not newer than the record that is known, is ignored.
        """
        before = self._by_id.get(record.key_id)
        if (before is not None and _order(record) <= _order(before)) or not self._genuine(record):
            return
        if before is not None:
            self._by_digest.pop(before.digest, None)
        self._by_id[record.key_id] = record
        if record.revoked_ms is None:
            self._by_digest[record.digest] = record
        self.generation += 1

    def take_value(self, value: Mapping[str, Any]) -> None:
        """Take a decoded record of the topic `access_keys`; raises as :func:`record_of`."""
        self.take(record_of(value))

    def records(self) -> list[AccessKey]:
        """Return the newest record of every key, revoked and expired ones too, by key id."""
        return [self._by_id[key_id] for key_id in sorted(self._by_id)]

    def check(self, text: str, now_ms: int) -> Principal | None:
        """Return the holder of a key; None if it is unknown, revoked or expired.

        Parameters
        ----------
        now_ms : wall time, epoch ms.
        """
        if len(text) > MAX_KEY_LENGTH:
            return None
        record = self._by_digest.get(digest_of(text))
        return None if record is None or now_ms >= record.expires_ms else principal_of(record)

    def holder(self, key_id: str, now_ms: int) -> Principal | None:
        """Return the holder of a key by its id; None as in :meth:`check`."""
        record = self._by_id.get(key_id)
        if record is None or record.revoked_ms is not None or now_ms >= record.expires_ms:
            return None
        return principal_of(record)

    def digest(self, key_id: str) -> str | None:
        """Return the hash of a key's text by its id, which a rotation changes; None for an unknown key."""
        record = self._by_id.get(key_id)
        return None if record is None else record.digest


def _order(record: AccessKey) -> tuple[bool, int, str, str]:
    """Return what orders the records of one key.

    Records without ``changed_ms`` that differ in the kind alone have the same time. Of these the public one
    counts, which is checked for probing.
    """
    return record.revoked_ms is not None, changed_ms(record), record.kind or "", record.digest


def principal_of(record: AccessKey) -> Principal:
    """Return the holder of a key; a record without a kind is a backend's."""
    public = record.kind not in (None, KeyKind.BACKEND)
    return Principal(record.key_id, record.author, record.tenant, record.role, record.expires_ms, public)
