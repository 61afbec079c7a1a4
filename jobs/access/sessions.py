"""Sessions: sign-ins of people to the console. Pure.

A session is 256 random bits in a cookie; the server keeps its SHA-256. It ends when it is idle for too long, at an
absolute age, at logout, and with what began it: a key that is rotated, revoked or expires, or an entry of the
claim's roles that is removed. :class:`jobs.connectors.redis.shared_sessions.SharedSessions` shares the sessions of
several operator ports.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from typing import NamedTuple, Protocol

from jobs.access.claims import ClaimRoles, ProviderUser
from jobs.access.keys import KeyRing, Principal
from schemas.time_units import HOUR_MS, MINUTE_MS

IDLE_MS = 30 * MINUTE_MS
"""Wall time without a request after which a session ends."""
ABSOLUTE_MS = 12 * HOUR_MS
"""Wall time after sign-in at which a session ends in any case."""
MOST_SESSIONS = 10_000
"""Sessions kept in memory; beyond them the least recently used one ends."""


class Session(NamedTuple):
    """A sign-in. ``by``: id of the key that began it, or the provider's user. Times are wall times, epoch ms.

    ``digest``: SHA-256 of the text that the key then had; "" for a provider's user.
    """

    by: str | ProviderUser
    began_ms: int
    seen_ms: int
    digest: str = ""


class SessionStore(Protocol):
    """Keeps sessions by the hash of their cookie. No method raises."""

    async def get(self, name: str) -> Session | None:
        """Return a session; None if it is not known or has ended."""

    async def put(self, name: str, session: Session) -> None:
        """Keep a session, or its newer state."""

    async def end(self, name: str) -> None:
        """Forget a session."""


class SessionMemory:
    """The sessions of one process."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Session] = OrderedDict()

    async def get(self, name: str) -> Session | None:
        """Return a session; None if it is not known or has ended."""
        return self._open.get(name)

    async def put(self, name: str, session: Session) -> None:
        """Keep a session; beyond :data:`MOST_SESSIONS` the least recently used one ends."""
        self._open[name] = session
        self._open.move_to_end(name)
        if len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)

    async def end(self, name: str) -> None:
        """Forget a session."""
        self._open.pop(name, None)

    def __len__(self) -> int:
        """Return the number of sessions that are kept."""
        return len(self._open)


class Sessions:
    """Begins, finds and ends sessions by their cookie.

    Parameters
    ----------
    ring : the deployment's keys.
    roles : roles of the provider's users; None: without a provider.
    store : None: a :class:`SessionMemory`.

    Examples
    --------
    >>> import asyncio
    >>> from jobs.access.keys import issue_key
    >>> _, record = issue_key("ann", "reader", "acme", now_ms=0, expires_ms=10**12)
    >>> async def example():
    ...     sessions = Sessions(KeyRing([record]))
    ...     cookie = await sessions.begin(record.key_id, now_ms=0)
    ...     found = [await sessions.find(cookie, now_ms=now_ms) for now_ms in (60_000, 60_000 + IDLE_MS)]
    ...     return found[0].author, found[1], await sessions.find("guess", now_ms=0)
    >>> asyncio.run(example())
    ('ann', None, None)
    """

    def __init__(self, ring: KeyRing, roles: ClaimRoles | None = None, store: SessionStore | None = None) -> None:
        self._ring, self._roles = ring, roles
        self._store: SessionStore = SessionMemory() if store is None else store

    async def begin(self, by: str | ProviderUser, now_ms: int, digest: str | None = None) -> str:
        """Begin a session of a key's holder, by its id, or of a provider's user; return its cookie's value.

        Parameters
        ----------
        digest : SHA-256 of the key's text that was presented; None: of the text that the key has.
        """
        if digest is None and isinstance(by, str):
            digest = self._ring.digest(by)
        cookie = secrets.token_urlsafe(32)
        await self._store.put(_hash(cookie), Session(by, now_ms, now_ms, digest or ""))
        return cookie

    async def find(self, cookie: str, now_ms: int) -> Principal | None:
        """Return who a cookie belongs to, and note the use; None without an open session."""
        name = _hash(cookie)
        session = await self._store.get(name)
        if session is None:
            return None
        idle, age = now_ms - session.seen_ms, now_ms - session.began_ms
        if idle >= IDLE_MS or age >= ABSOLUTE_MS:
            await self._store.end(name)
            return None
        # A holder who is not known yet, while the keys are being read after a start, ends no session.
        holder = self._holder(session, now_ms)
        if holder is not None:
            await self._store.put(name, session._replace(seen_ms=now_ms))
        return holder

    async def end(self, cookie: str) -> None:
        """End a session."""
        await self._store.end(_hash(cookie))

    def _holder(self, session: Session, now_ms: int) -> Principal | None:
        if isinstance(session.by, str):
            same = self._ring.digest(session.by) == session.digest
            return self._ring.holder(session.by, now_ms) if same else None
        if self._roles is None:
            return None
        return self._roles.holder(session.by, session.began_ms + ABSOLUTE_MS)


def csrf_token(cookie: str) -> str:
    """Return what a page must send with every request of a session that changes something, 64 hexadecimal digits.

    It is derived from the cookie, so that no store holds it.

    >>> len(csrf_token("a")), csrf_token("a") == csrf_token("b")
    (64, False)
    """
    return hmac.digest(cookie.encode(), b"csrf", hashlib.sha256).hex()


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
