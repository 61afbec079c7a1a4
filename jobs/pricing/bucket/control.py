"""Control: the freezes, kill switches and calendar entries that apply to a bucket's listings.

Scopes: a command without market or SKU means all of them; a calendar entry without zone or categories
likewise. A zone is no part of a listing's key; an entry's zone applies to a market that it names, as a
whole or as one part of its name (``us`` to ``web-us-usd``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.events import CalendarEvent, CalendarKind, CatalogEntry
from schemas.listings import Listing
from schemas.records.operator_events import Command

Scope = tuple[str, str | None, str | None]
KEPT_EVENTS = 256


def scope_of(command: Command) -> Scope:
    """Return a command's tenant, market or None, and SKU or None."""
    return command.tenant, command.market or None, command.sku or None


def covers(scope: Scope, listing: Listing) -> bool:
    """Return whether a scope contains a listing.

    >>> shoe = Listing("acme", "web", "s1")
    >>> covers(("acme", None, None), shoe), covers(("acme", "b2b", None), shoe)
    (True, False)
    """
    tenant, market, sku = scope
    return tenant == listing.tenant and market in (None, listing.market) and sku in (None, listing.sku)


def applies(event: CalendarEvent, entry: CatalogEntry) -> bool:
    """Return whether a calendar entry applies to a listing."""
    if event.tenant != entry.tenant:
        return False
    zone_fits = not event.zone or event.zone == entry.market or event.zone in entry.market.split("-")
    return zone_fits and (
        not event.categories or entry.category in [c.strip() for c in event.categories.split(",")]
    )


class Control:
    """Freezes, kill switches and calendar entries; restartable.

    Examples
    --------
    >>> control = Control()
    >>> control.freeze(Command("e", 0, "acme", "freeze", "ann", market="web"))
    >>> control.frozen(Listing("acme", "web", "s1"), at_ms=5)
    'frozen by ann'
    >>> control.unfreeze(Command("e", 0, "acme", "unfreeze", "ann"))
    >>> control.frozen(Listing("acme", "web", "s1"), at_ms=5) is None
    True
    """

    def __init__(self) -> None:
        self._freezes: list[dict[str, Any]] = []
        self._events: dict[str, CalendarEvent] = {}

    # -- freezes -------------------------------------------------------------------------------

    def freeze(self, command: Command, *, kill: bool = False, text: str | None = None) -> None:
        """Hold every price in the command's scope, until ``until_ms`` where given."""
        words = text or (f"kill switch by {command.operator}" if kill else f"frozen by {command.operator}")
        if command.reason:
            words += f": {command.reason}"
        scope = list(scope_of(command))
        self._freezes = [f for f in self._freezes if not (f["scope"] == scope and f["kill"] == kill)]
        self._freezes.append({"scope": scope, "until_ms": command.until_ms, "kill": kill, "text": words})

    def unfreeze(self, command: Command, *, kill: bool = False) -> None:
        """End the freezes, or the kill switches, of the command's scope and of all narrower ones."""
        tenant, market, sku = scope_of(command)

        def inside(scope: list[str | None]) -> bool:
            return scope[0] == tenant and market in (None, scope[1]) and sku in (None, scope[2])

        self._freezes = [f for f in self._freezes if f["kill"] != kill or not inside(f["scope"])]

    def frozen(self, listing: Listing, at_ms: int) -> str | None:
        """Return the text of a listing's freeze, or None."""
        return next((f["text"] for f in self._in_force(listing, at_ms)), None)

    def killed(self, listing: Listing, at_ms: int) -> bool:
        """Return whether a kill switch applies to a listing; then not even renewals are published."""
        return any(f["kill"] for f in self._in_force(listing, at_ms))

    def _in_force(self, listing: Listing, at_ms: int) -> Iterator[dict[str, Any]]:
        for freeze in self._freezes:
            if covers(tuple(freeze["scope"]), listing) and (
                freeze["until_ms"] is None or at_ms < freeze["until_ms"]
            ):
                yield freeze

    # -- calendar ------------------------------------------------------------------------------

    def announce(self, event: CalendarEvent) -> None:
        """Take a calendar entry; the same event id again replaces it."""
        self._events[event.event_id] = event
        if len(self._events) > KEPT_EVENTS:
            del self._events[min(self._events, key=lambda name: (self._events[name].end_ms, name))]

    def turning(self, after_ms: int, until_ms: int) -> list[tuple[CalendarEvent, bool]]:
        """Return the events that start (True) or end (False) in (after, until], by time and id."""
        turns = [
            (e.start_ms, e.event_id, e, True) for e in self._events.values() if after_ms < e.start_ms <= until_ms
        ]
        turns += [
            (e.end_ms, e.event_id, e, False) for e in self._events.values() if after_ms < e.end_ms <= until_ms
        ]
        return [(event, starts) for _, _, event, starts in sorted(turns, key=lambda t: t[:2])]

    def forget_before(self, at_ms: int) -> None:
        """Drop events and freezes that are over."""
        self._events = {name: e for name, e in self._events.items() if e.end_ms > at_ms}
        self._freezes = [f for f in self._freezes if f["until_ms"] is None or f["until_ms"] > at_ms]

    def running(self, entry: CatalogEntry, at_ms: int) -> list[CalendarEvent]:
        """Return the events in progress for a listing, by id."""
        return [
            self._events[name]
            for name in sorted(self._events)
            if self._events[name].start_ms <= at_ms < self._events[name].end_ms
            and applies(self._events[name], entry)
        ]

    def demand_factor(self, entry: CatalogEntry, at_ms: int) -> float:
        """Return the expected factor of running events on requests."""
        factor = 1.0
        for event in self.running(entry, at_ms):
            factor *= event.expected_factor
        return factor

    def emergency(self, entry: CatalogEntry, at_ms: int) -> str | None:
        """Return the name of the declared emergency that applies to a listing, or None."""
        running = self.running(entry, at_ms)
        return next((e.name for e in running if e.kind == CalendarKind.EMERGENCY), None)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        names = tuple(CalendarEvent.__dataclass_fields__)
        return {
            "freezes": [dict(f) for f in self._freezes],
            "events": [{name: getattr(e, name) for name in names} for e in self._events.values()],
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take :meth:`snapshot` back."""
        self._freezes = [dict(f) for f in snapshot["freezes"]]
        self._events = {e["event_id"]: CalendarEvent(**e) for e in snapshot["events"]}
