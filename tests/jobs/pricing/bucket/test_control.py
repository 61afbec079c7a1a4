"""Control: the number of calendar entries kept is bounded."""

from __future__ import annotations

from jobs.pricing.bucket.control import KEPT_EVENTS, Control
from schemas.events import CalendarEvent


def an_event(number: int) -> CalendarEvent:
    """Return a sale that ends ``number`` minutes after the epoch's first day."""
    end_ms = 86_400_000 + number * 60_000
    return CalendarEvent(f"ev-{number}", 0, "acme", "campaign", f"sale {number}", "us", "", 0, end_ms, 1.0)


def test_full_calendar_drops_the_event_that_ends_first() -> None:
    control = Control()
    for number in (*range(1, KEPT_EVENTS + 1), 0):
        control.announce(an_event(number))
    kept = {event["event_id"] for event in control.snapshot()["events"]}
    assert kept == {f"ev-{number}" for number in range(1, KEPT_EVENTS + 1)}
