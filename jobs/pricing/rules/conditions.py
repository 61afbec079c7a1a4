"""Conditions on a listing and on the time: one language for pricing rules and for the rows of ``rule_table``.

A condition that is not stated holds. A stated condition on a value that is not known does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

from jobs.pricing.policy_section import Field, Number, PolicySection, as_stated, check_section
from schemas.events import Role

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOURS_OF_DAY = 24
Names = str | tuple[str, ...]
"""One name, or several of which one must fit."""
NUMBERS = ("stock", "cover_days", "age_days", "rival_gap", "requests_per_day")
"""What ``least_…`` and ``most_…`` bound."""
_Own = TypeVar("_Own", bound="Conditions")


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What conditions are read against; None: not known.

    ``hour``, ``weekday``: of the market's local time, 0 to 23, Monday 0. ``stock``: units on hand. ``cover_days``:
    days that they last at the expected sales. ``age_days``: since the first catalog entry. ``rival_gap``: price
    over the rivals' fresh mean, less 1. ``requests_per_day``: expected price requests per day.
    """

    category: str | None = None
    role: str | None = None
    tags: frozenset[str] | None = None
    hour: int | None = None
    weekday: int | None = None
    stock: float | None = None
    cover_days: float | None = None
    age_days: float | None = None
    rival_gap: float | None = None
    requests_per_day: float | None = None


class Span(NamedTuple):
    """An inclusive range of a number; an absent end is open."""

    least: float | None
    most: float | None

    def holds(self, value: float | None) -> bool:
        """Return whether a value lies inside; an unknown one does not.

        >>> Span(1, None).holds(1), Span(1, 2).holds(3), Span(None, 2).holds(None)
        (True, False, False)
        """
        return (
            value is not None
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )


class Conditions(PolicySection):
    """Conditions that must all hold.

    Examples
    --------
    >>> evening = Conditions(category=("shoes", "boots"), from_hour=18, until_hour=22, least_stock=10)
    >>> [evening.hold(RuleFacts(category="shoes", hour=h, stock=n)) for h, n in ((18, 10), (22, 10), (18, None))]
    [True, False, False]
    """

    category: Names | None = Field(default=None, description="the listing's category, or several")
    role: Names | None = Field(default=None, description="the listing's role, or several")
    tags: tuple[str, ...] | None = Field(
        default=None, description="tags, all of which the listing's catalog entry has"
    )
    from_hour: int | None = Field(
        default=None, ge=0, le=23, description="first hour of the market's day; with until_hour"
    )
    until_hour: int | None = Field(
        default=None, ge=1, le=24, description="hour at which it ends; at or before from_hour: of the next day"
    )
    weekdays: tuple[Weekday, ...] | None = Field(
        default=None, description="weekdays of the market's local time, mon to sun"
    )
    least_stock: int | None = Field(default=None, ge=0, description="units on hand at least")
    most_stock: int | None = Field(default=None, ge=0, description="units on hand at most")
    least_cover_days: Number | None = Field(default=None, ge=0, description="days that the stock lasts, at least")
    most_cover_days: Number | None = Field(default=None, ge=0, description="days that the stock lasts, at most")
    least_age_days: Number | None = Field(
        default=None, ge=0, description="days since the listing's first catalog entry, at least"
    )
    most_age_days: Number | None = Field(
        default=None, ge=0, description="days since the listing's first catalog entry, at most"
    )
    least_rival_gap: Number | None = Field(
        default=None, ge=-1, description="price over the rivals' fresh mean less 1, at least"
    )
    most_rival_gap: Number | None = Field(
        default=None, ge=-1, description="price over the rivals' fresh mean less 1, at most"
    )
    least_requests_per_day: Number | None = Field(
        default=None, ge=0, description="expected price requests per day, at least"
    )
    most_requests_per_day: Number | None = Field(
        default=None, ge=0, description="expected price requests per day, at most"
    )

    @check_section
    def _can_hold(self: _Own) -> _Own:
        for name in ("category", "role", "tags"):
            if (given := getattr(self, name)) is not None and not (given and all(names_of(given))):
                raise ValueError(f"{name}: expected names that are not empty, got {given!r}")
        if self.weekdays == ():
            raise ValueError("weekdays: expected at least one of mon to sun, got none")
        for role in names_of(self.role):
            if role not in set(Role):
                raise ValueError(f"expected a role among {', '.join(sorted(Role))}, got {role!r}")
        for what in NUMBERS:
            least, most = getattr(self, f"least_{what}"), getattr(self, f"most_{what}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"expected least_{what} ≤ most_{what}, got {least} and {most}")
        if (self.from_hour is None) != (self.until_hour is None):
            raise ValueError(
                f"expected from_hour and until_hour together, got from_hour: {self.from_hour} and until_hour: "
                f"{self.until_hour}"
            )
        return self

    @as_stated
    def _stated(self) -> dict[str, Any]:
        return stated(self)

    @cached_property
    def hours(self) -> frozenset[int] | None:
        """Hours of the day in which the conditions may hold; None: all.

        >>> sorted(Conditions(from_hour=22, until_hour=2).hours)
        [0, 1, 22, 23]
        """
        if self.from_hour is None or self.until_hour is None:
            return None
        length = (self.until_hour - self.from_hour - 1) % HOURS_OF_DAY + 1
        return frozenset((self.from_hour + i) % HOURS_OF_DAY for i in range(length))

    @cached_property
    def days(self) -> frozenset[int] | None:
        """Weekdays on which the conditions may hold, Monday 0; None: all."""
        return None if self.weekdays is None else frozenset(WEEKDAYS.index(day) for day in self.weekdays)

    @cached_property
    def spans(self) -> dict[str, Span]:
        """The ranges of numbers that are stated."""
        every = {what: Span(getattr(self, f"least_{what}"), getattr(self, f"most_{what}")) for what in NUMBERS}
        return {what: span for what, span in every.items() if span != (None, None)}

    @property
    def is_open(self) -> bool:
        """Whether no condition is stated."""
        return all(getattr(self, name) is None for name in Conditions.model_fields)

    @property
    def is_timed(self) -> bool:
        """Whether time alone can turn the conditions on or off: hours, weekdays or the listing's age."""
        return self.from_hour is not None or self.weekdays is not None or "age_days" in self.spans

    def hold(self, facts: RuleFacts) -> bool:
        """Return whether all conditions hold."""
        return (
            self.fit(facts.category, facts.role, facts.tags)
            and self.hold_at(facts.hour, facts.weekday)
            and all(span.holds(getattr(facts, what)) for what, span in self.spans.items())
        )

    def fit(self, category: str | None, role: str | None, tags: frozenset[str] | None) -> bool:
        """Return whether the conditions on what the catalog states hold."""
        return (
            (self.category is None or category in names_of(self.category))
            and (self.role is None or role in names_of(self.role))
            and (self.tags is None or (tags is not None and tags.issuperset(self.tags)))
        )

    def hold_at(self, hour: int | None, weekday: int | None) -> bool:
        """Return whether the conditions on the market's hour and weekday hold."""
        return (self.hours is None or hour in self.hours) and (self.days is None or weekday in self.days)


def names_of(given: Names | None) -> tuple[str, ...]:
    """Return one or several names as a tuple; empty without one.

    >>> names_of("shoes"), names_of(("shoes", "boots")), names_of(None)
    (('shoes',), ('shoes', 'boots'), ())
    """
    return () if given is None else (given,) if isinstance(given, str) else given


def stated(section: PolicySection) -> dict[str, Any]:
    """Return the keys of a section that differ from their defaults, as plain data.

    >>> stated(Conditions(role="kvi", weekdays=("sat",)))
    {'role': 'kvi', 'weekdays': ['sat']}
    """
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if value == field.default:
            continue
        plain = value.model_dump(mode="json") if isinstance(value, PolicySection) else value
        found[name] = list(plain) if isinstance(plain, tuple) else plain
    return found
