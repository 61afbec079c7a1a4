"""When time alone turns a rule on or off: its validity, hours, weekdays and the listing's age. Pure.

Stock, days of stock, the gap to rivals and demand are read whenever a listing is decided on; they request no
repricing by themselves.
"""

from __future__ import annotations

from typing import NamedTuple

from features.market_time import MarketTime
from jobs.pricing.rules.rule import PricingRule
from jobs.pricing.rules.section import Rules
from schemas.events import CatalogEntry
from schemas.time_units import DAY_MS


class RuleTurn(NamedTuple):
    """A rule that turned at a time: whether it is on now."""

    rule: PricingRule
    is_on: bool


class TimedRule(NamedTuple):
    """A rule that time can turn, and whether the market's local time allowed it before and allows it now."""

    rule: PricingRule
    before: bool
    now: bool


def timed_rules(
    rules: Rules, market: str, market_time: MarketTime, before_ms: int, at_ms: int
) -> tuple[TimedRule, ...]:
    """Return the rules of a section that may turn between two event times in a market.

    Examples
    --------
    >>> from jobs.pricing.rules.conditions import Conditions
    >>> rule = PricingRule(name="evening", when=Conditions(from_hour=18, until_hour=22), adjust=-0.05)
    >>> evening, hour_ms = Rules(entries=(rule,)), 3_600_000
    >>> [turned] = timed_rules(evening, "web", MarketTime(), 17 * hour_ms, 18 * hour_ms)
    >>> turned.before, turned.now
    (False, True)
    >>> timed_rules(evening, "web", MarketTime(), 18 * hour_ms, 19 * hour_ms)
    ()
    """
    zone, found = market_time.zone(market), []
    times = (before_ms, at_ms)
    hours = [market_time.hour(market, time_ms) for time_ms in times]
    for rule in rules.timed:
        before, now = (
            rule.is_valid(time_ms, zone) and rule.when.hold_at(hour.hour, hour.weekday)
            for time_ms, hour in zip(times, hours, strict=True)
        )
        if before != now or (now and "age_days" in rule.when.spans):
            found.append(TimedRule(rule, before, now))
    return tuple(found)


def turn_of(
    timed: tuple[TimedRule, ...], entry: CatalogEntry, since_ms: int | None, before_ms: int, at_ms: int
) -> RuleTurn | None:
    """Return the first rule, by priority, that turned for a listing; None if none did.

    Parameters
    ----------
    timed : the rules that may turn in the listing's market.
    entry : its catalog entry.
    since_ms : time of its first catalog entry; None: not known, so that no condition on its age holds.
    """
    tags = frozenset(entry.tag_names) if timed else frozenset()
    for rule, before, now in timed:
        if not rule.when.fit(entry.category, entry.role, tags):
            continue
        if (span := rule.when.spans.get("age_days")) is not None:
            ages = [None if since_ms is None else max(0.0, (t - since_ms) / DAY_MS) for t in (before_ms, at_ms)]
            before, now = before and span.holds(ages[0]), now and span.holds(ages[1])
        if before != now:
            return RuleTurn(rule, now)
    return None
