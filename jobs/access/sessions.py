"""Sessions: sign-ins of people to the console. Pure.

A session is 256 random bits in a cookie; the server keeps its SHA-256. It ends when it is idle for too long, at an
absolute age, at logout, and with what began it: a key that is revoked or expires, or an entry of the provider's
mapping that is removed. Sessions live in the memory of one operator port: after a restart people sign in again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import NamedTuple

from jobs.access.claims import ClaimMapping, ProviderUser
from jobs.access.keys import KeyRing, Principal
from schemas.time_units import HOUR_MS, MINUTE_MS

IDLE_MS = 30 * MINUTE_MS
"""Wall time without a request after which a session ends."""
ABSOLUTE_MS = 12 * HOUR_MS
"""Wall time after sign-in at which a session ends in any case."""
MOST_SESSIONS = 10_000
"""Sessions kept; beyond them the least recently used one ends."""


class Session(NamedTuple):
    """A sign-in. ``csrf``: what a page must send with every request that changes something."""

    by: str | ProviderUser
    """Id of the key that began it, or the provider's user."""
    csrf: str
    began_ms: int
    seen_ms: int


class Sessions:
    """Open sessions by the hash of their cookie.

    Parameters
    ----------
    ring : the deployment's keys.
    mapping : roles of the provider's users; None: without a provider.

    Examples
    --------
    >>> from jobs.access.keys import issue_key
    >>> _, record = issue_key("ann", "reader", "acme", now_ms=0, expires_ms=10**12)
    >>> sessions = Sessions(KeyRing([record]))
    >>> cookie, session = sessions.begin(record.key_id, now_ms=0)
    >>> sessions.find(cookie, now_ms=60_000)[0].author, sessions.find("guess", now_ms=60_000)
    ('ann', None)
    >>> sessions.find(cookie, now_ms=60_000 + IDLE_MS) is None
    True
    """

    def __init__(self, ring: KeyRing, mapping: ClaimMapping | None = None) -> None:
        self._ring, self._mapping = ring, mapping
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, by: str | ProviderUser, now_ms: int) -> tuple[str, Session]:
        """Begin a session of a key's holder, by its id, or of a provider's user; return its cookie and the session."""
        cookie = secrets.token_urlsafe(32)
        session = Session(by, secrets.token_urlsafe(32), now_ms, now_ms)
        self._open[_hash(cookie)] = session
        if len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return cookie, session

    def find(self, cookie: str, now_ms: int) -> tuple[Principal, Session] | None:
        """Return who a cookie belongs to, and note the use; None without an open session."""
        name = _hash(cookie)
        session = self._open.get(name)
        if session is None:
            return None
        holder = self._holder(session, now_ms)
        idle, age = now_ms - session.seen_ms, now_ms - session.began_ms
        if holder is None or idle >= IDLE_MS or age >= ABSOLUTE_MS:
            del self._open[name]
            return None
        self._open[name] = used = session._replace(seen_ms=now_ms)
        self._open.move_to_end(name)
        return holder, used

    def end(self, cookie: str) -> None:
        """End a session."""
        self._open.pop(_hash(cookie), None)

    def _holder(self, session: Session, now_ms: int) -> Principal | None:
        if isinstance(session.by, str):
            return self._ring.holder(session.by, now_ms)
        if self._mapping is None:
            return None
        return self._mapping.holder(session.by, session.began_ms + ABSOLUTE_MS)

    def __len__(self) -> int:
        """Return the number of sessions that are kept."""
        return len(self._open)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
