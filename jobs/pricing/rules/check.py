"""Check of a section's rules without data: conflicts, gaps, and rules that cannot apply. Pure.

Two rules conflict if they have the same action with different effects and can hold for the same listing at the
same time. A rule is shadowed if one rule of the same action that comes before it holds wherever it does; several
rules that do so only together are not detected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from typing import TypeVar

from jobs.pricing.rules.conditions import HOURS_OF_DAY, WEEKDAYS, Conditions, Span, names_of
from jobs.pricing.rules.rule import ActionKind, PricingRule
from jobs.pricing.rules.section import Rules
from schemas.events import CatalogEntry, Role
from schemas.listings import Listing

NAMED_LISTINGS = 3
"""Listings that a finding names."""
_TIME = ("from_hour", "until_hour", "weekdays")
_T = TypeVar("_T")


class Severity(StrEnum):
    """How much a finding matters; ``walras rules check`` returns exit code 1 for an error."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class FindingKind(StrEnum):
    """What was found."""

    CONFLICT = "conflict"
    """Two rules of one action with different effects can hold at once; of equal priority it is an error."""
    SHADOWED = "shadowed"
    """A rule that comes before it holds wherever this one does, so that it never applies."""
    EXPIRED = "expired"
    """Its validity is over."""
    NOT_YET_VALID = "not_yet_valid"
    """Its validity has not begun."""
    GAP = "gap"
    """Hours of the week, or days, between rules that differ in time alone."""
    UNCOVERED = "uncovered"
    """Active listings that fit no rule by category, role and tags."""
    FITS_NO_LISTING = "fits_no_listing"
    """No active listing has the rule's category, role and tags."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the names of the rules that it is about, and a sentence."""

    kind: FindingKind
    severity: Severity
    rules: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """The findings about a section, errors first, and its number of rules."""

    rules: int
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether there is an error."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def of(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Return the findings of a kind."""
        return tuple(finding for finding in self.findings if finding.kind is kind)


def check_rules(
    rules: Rules,
    now: datetime,
    *,
    entries: Iterable[CatalogEntry] | None = None,
    allows: Callable[[str | None, str], bool] = lambda role, strategy: True,
) -> RuleCheck:
    """Return conflicts, gaps, expired and shadowed rules of a section.

    Parameters
    ----------
    now : the market's local time, without a time zone.
    entries : the catalog of the rules' scope; None: listings are not checked.
    allows : whether a strategy may be chosen for a role (:meth:`Strategies.allows`).

    Examples
    --------
    >>> low = {"name": "low", "when": {"category": "shoes"}, "adjust": -0.1}
    >>> high = {"name": "high", "when": {"role": "kvi"}, "adjust": 0.1}
    >>> found = check_rules(Rules(entries=[low, high]), datetime.fromisoformat("2026-12-01"))
    >>> [(finding.kind.value, finding.rules) for finding in found.findings], found.has_errors
    ([('conflict', ('high', 'low'))], True)
    """
    current = [rule for rule in rules.ordered if rule.ends > now]
    found = [*_validity(rules.ordered, now)]
    for kind in ActionKind:
        alike = [rule for rule in current if rule.action is kind]
        found += _pairs(alike, allows)
        found += _gaps(alike)
    if entries is not None:
        found += _listings(current, [entry for entry in entries if entry.active])
    order = list(Severity)
    return RuleCheck(
        len(rules.entries), tuple(sorted(found, key=lambda f: (order.index(f.severity), f.kind, f.rules)))
    )


def _validity(rules: Sequence[PricingRule], now: datetime) -> Iterator[Finding]:
    for rule in rules:
        if rule.ends <= now:
            text = f"{rule.name} expired: it held to {rule.valid_to}; remove it"
            yield Finding(FindingKind.EXPIRED, Severity.WARNING, (rule.name,), text)
        elif rule.begins > now:
            text = f"{rule.name} is not yet valid: it holds from {rule.valid_from}"
            yield Finding(FindingKind.NOT_YET_VALID, Severity.NOTE, (rule.name,), text)


def _pairs(rules: Sequence[PricingRule], allows: Callable[[str | None, str], bool]) -> Iterator[Finding]:
    """Yield conflicts and shadowed rules among rules of one action, given in the order in which they are tried."""
    shadowed = set()
    for first, second in combinations(rules, 2):
        names, differ = (first.name, second.name), first.effect != second.effect
        if first.priority == second.priority and differ and _overlap(first, second):
            text = (
                f"{first.name} and {second.name} can hold at once, both with action {first.action} and priority "
                f"{first.priority}: {first.name} applies, whose name comes first; give one a higher priority, or "
                "conditions that exclude each other"
            )
            yield Finding(FindingKind.CONFLICT, Severity.ERROR, names, text)
        if _always_applies_before(first, second, allows):
            if second.name not in shadowed:
                shadowed.add(second.name)
                text = f"{second.name} never applies: {first.name} holds wherever it does and comes first"
                yield Finding(FindingKind.SHADOWED, Severity.WARNING, (second.name, first.name), text)
        elif first.priority != second.priority and differ and _overlap(first, second):
            text = (
                f"{first.name} (priority {first.priority}) applies instead of {second.name} (priority "
                f"{second.priority}) where both hold"
            )
            yield Finding(FindingKind.CONFLICT, Severity.NOTE, names, text)


def _overlap(one: PricingRule, other: PricingRule) -> bool:
    """Return whether one listing can have both rules at one time; tags never exclude each other."""
    a, b = one.when, other.when
    return (
        max(one.begins, other.begins) < min(one.ends, other.ends)
        and _meet(_set(a.category), _set(b.category))
        and _meet(_set(a.role), _set(b.role))
        and _meet(a.hours, b.hours)
        and _meet(a.days, b.days)
        and all(_spans_meet(span, b.spans.get(what, Span(None, None))) for what, span in a.spans.items())
    )


def _always_applies_before(
    first: PricingRule, second: PricingRule, allows: Callable[[str | None, str], bool]
) -> bool:
    if not (first.begins <= second.begins and first.ends >= second.ends and _covers(first.when, second.when)):
        return False
    if first.strategy is not None:
        return all(allows(role, first.strategy) for role in names_of(second.when.role) or tuple(Role))
    known = ("minor", second.band.of) if second.band is not None else ()
    return first.band is None or first.band.of in known


def _covers(wide: Conditions, narrow: Conditions, *, ignore_time: bool = False) -> bool:
    """Return whether the wide conditions hold wherever the narrow ones do."""
    timed = ignore_time or (_within(narrow.hours, wide.hours) and _within(narrow.days, wide.days))
    return (
        timed
        and _within(_set(narrow.category), _set(wide.category))
        and _within(_set(narrow.role), _set(wide.role))
        and frozenset(wide.tags or ()) <= frozenset(narrow.tags or ())
        and all(_span_within(narrow.spans.get(what), span) for what, span in wide.spans.items())
    )


def _gaps(rules: Sequence[PricingRule]) -> Iterator[Finding]:
    """Yield the hours of the week and the days between rules of one action that differ in time alone."""
    series: dict[Conditions, list[PricingRule]] = {}
    for rule in rules:
        series.setdefault(_without_time(rule.when), []).append(rule)
    for conditions, alike in series.items():
        if len(alike) < 2:
            continue
        names = tuple(sorted(rule.name for rule in alike))
        beside = [rule for rule in rules if _covers(rule.when, conditions, ignore_time=True)]
        first, last = min(rule.begins for rule in alike), max(rule.ends for rule in alike)
        always = [rule for rule in beside if rule.begins <= first and rule.ends >= last]
        hours = {hour for rule in (*alike, *always) for hour in _week_hours(rule.when)}
        if missing := [hour for hour in range(len(WEEKDAYS) * HOURS_OF_DAY) if hour not in hours]:
            text = f"no rule of {', '.join(names)} applies on {_hours_text(missing)}"
            yield Finding(FindingKind.GAP, Severity.WARNING, names, text)
        ends = None
        for rule in sorted(beside, key=lambda each: (each.begins, each.ends, each.name)):
            if ends is not None and rule.begins > ends:
                text = f"no rule of {', '.join(names)} is valid from {_time(ends)} to {_time(rule.begins)}"
                yield Finding(FindingKind.GAP, Severity.WARNING, names, text)
            ends = rule.ends if ends is None else max(ends, rule.ends)


def _listings(rules: Sequence[PricingRule], entries: Sequence[CatalogEntry]) -> Iterator[Finding]:
    fitting: dict[str, int] = dict.fromkeys((rule.name for rule in rules), 0)
    uncovered = []
    for entry in entries:
        tags = frozenset(entry.tag_names)
        fits = [rule.name for rule in rules if rule.when.fit(entry.category, entry.role, tags)]
        for name in fits:
            fitting[name] += 1
        if not fits:
            uncovered.append(Listing.key_of(entry))
    for name in sorted(name for name, listings in fitting.items() if not listings):
        text = f"{name} fits none of {len(entries):,} active listings by category, role and tags"
        yield Finding(FindingKind.FITS_NO_LISTING, Severity.WARNING, (name,), text)
    if uncovered:
        examples = ", ".join(sorted(uncovered)[:NAMED_LISTINGS])
        text = f"{len(uncovered):,} of {len(entries):,} active listings fit no rule, for example {examples}"
        yield Finding(FindingKind.UNCOVERED, Severity.NOTE, (), text)


def _without_time(when: Conditions) -> Conditions:
    stated = {name: getattr(when, name) for name in Conditions.model_fields if name not in _TIME}
    return Conditions(**stated)


def _set(given: str | tuple[str, ...] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(names_of(given))


def _meet(a: frozenset[_T] | None, b: frozenset[_T] | None) -> bool:
    return a is None or b is None or bool(a & b)


def _within(narrow: frozenset[_T] | None, wide: frozenset[_T] | None) -> bool:
    return wide is None or (narrow is not None and narrow <= wide)


def _spans_meet(a: Span, b: Span) -> bool:
    least = [end for end in (a.least, b.least) if end is not None]
    most = [end for end in (a.most, b.most) if end is not None]
    return not least or not most or max(least) <= min(most)


def _span_within(narrow: Span | None, wide: Span) -> bool:
    if narrow is None:
        return False
    low = wide.least is None or (narrow.least is not None and narrow.least >= wide.least)
    return low and (wide.most is None or (narrow.most is not None and narrow.most <= wide.most))


def _week_hours(when: Conditions) -> Iterator[int]:
    days = range(len(WEEKDAYS)) if when.days is None else when.days
    hours = range(HOURS_OF_DAY) if when.hours is None else when.hours
    return (day * HOURS_OF_DAY + hour for day in days for hour in hours)


def _hours_text(week_hours: Iterable[int]) -> str:
    """Return hours of the week as text; days with the same hours are joined.

    >>> _hours_text([12, 13, 24 + 12, 24 + 13, 6 * 24])
    'mon, tue 12–14; sun 0–1'
    """
    by_day: dict[int, list[int]] = {}
    for hour in sorted(week_hours):
        by_day.setdefault(hour // HOURS_OF_DAY, []).append(hour % HOURS_OF_DAY)
    days: dict[str, list[str]] = {}
    for day, hours in by_day.items():
        starts = [hour for hour in hours if hour - 1 not in hours]
        ends = [hour + 1 for hour in hours if hour + 1 not in hours]
        text = ", ".join(f"{start}–{end}" for start, end in zip(starts, ends, strict=True))
        days.setdefault(text, []).append(WEEKDAYS[day])
    return "; ".join(f"{', '.join(names)} {hours}" for hours, names in days.items())


def _time(local: datetime) -> str:
    text = local.isoformat(timespec="minutes")
    return text.removesuffix("T00:00")
