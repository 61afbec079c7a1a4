"""PriceExperience: which prices of a listing have been seen, and what the last step beyond them brought.

A price is *observed* when shoppers saw it or bought at it: at or beyond it lie ``extrapolation.least_orders``
orders or ``extrapolation.least_exposures`` exposures, or a mixture that weighs as much. The two ends of the range
are therefore order statistics, which do not depend on the order of arrival, and one mistaken record moves neither.
Prices outside the range that only this system's own tables have shown do not widen it: the guardrail EXTRAPOLATION
decides about those (:mod:`jobs.pricing.guardrails.extrapolation`). The range never narrows.

Before the first table, the prices of orders are kept in the order of their last order: the first price is the
newest of them with enough orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.pricing.guardrails.extrapolation import ExtrapolationSettings
from schemas.listings import Listing
from schemas.money import ceil_minor, floor_minor
from schemas.records.counts import Cell

if TYPE_CHECKING:
    from jobs.pricing.bucket.listing.listing_state import ListingState

KEPT_PRICES = 8
"""Prices of orders that are kept before the first table."""
KEPT_TESTED = 64
"""Prices of the listing's own tables outside the range that are kept, the newest ones."""


class PriceCount(NamedTuple):
    """Orders and exposures at one price."""

    price_minor: int
    orders: int
    exposures: int


class PriceStep(NamedTuple):
    """A main price outside the range, and the main price inside it from which the step was made."""

    from_minor: int
    to_minor: int


class PriceExperience(NamedTuple):
    """What is known of a listing's prices; amounts in minor units.

    ``start_minor``: main price of the first table. ``low_minor``, ``high_minor``: the range, None before anything
    is known. ``lower``: observations below it, ascending; ``higher``: above it, descending; each has less evidence
    than an observed price needs. ``recent``: prices of orders before the first table, the newest first.
    ``tested``: prices outside the range that the listing's tables have shown while the range bounded them, the
    newest last. ``step``: the last step outside the range; None while the main price is inside.
    """

    start_minor: int | None = None
    low_minor: int | None = None
    high_minor: int | None = None
    lower: tuple[PriceCount, ...] = ()
    higher: tuple[PriceCount, ...] = ()
    recent: tuple[PriceCount, ...] = ()
    tested: tuple[int, ...] = ()
    step: PriceStep | None = None

    def contains(self, price_minor: int) -> bool:
        """Return whether a price lies within the range; False without one."""
        return (
            self.low_minor is not None
            and self.high_minor is not None
            and self.low_minor <= price_minor <= self.high_minor
        )

    def to_row(self) -> list[Any]:
        """Return plain data."""
        start, low, high, lower, higher, recent, tested, step = self
        counts = [[list(count) for count in counts] for counts in (lower, higher, recent)]
        return [start, low, high, *counts, list(tested), None if step is None else list(step)]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> PriceExperience:
        """Read :meth:`to_row` back."""
        start, low, high, lower, higher, recent, tested, step = row
        below, above, newest = (tuple(PriceCount(*each) for each in counts) for counts in (lower, higher, recent))
        last = None if step is None else PriceStep(*step)
        return cls(start, low, high, below, above, newest, tuple(tested), last)


def observed(
    experience: PriceExperience, counts: Iterable[PriceCount], settings: ExtrapolationSettings, *, has_table: bool
) -> PriceExperience:
    """Add one minute's counts, one per price; negative counts (cancellations) add nothing.

    Examples
    --------
    >>> settings = ExtrapolationSettings(least_orders=2, least_exposures=100)
    >>> seen = observed(PriceExperience(), [PriceCount(999, 2, 0)], settings, has_table=False)
    >>> seen.low_minor, seen.high_minor
    (999, 999)
    >>> seen = observed(seen, [PriceCount(899, 1, 0), PriceCount(849, 0, 50)], settings, has_table=False)
    >>> seen.low_minor, seen.high_minor
    (899, 999)
    """
    # Of equal orders the lowest price is the newest.
    for count in sorted(counts, key=lambda each: (each.orders, -each.price_minor)):
        positive = PriceCount(count.price_minor, max(count.orders, 0), max(count.exposures, 0))
        if positive.orders and not has_table:
            experience = experience._replace(recent=_newest_first(experience.recent, positive))
        if (positive.orders or positive.exposures) and positive.price_minor not in experience.tested:
            experience = _widened(experience, positive, settings)
    return experience


def observe_cells(
    states: Mapping[str, ListingState], cells: Iterable[Cell], settings: ExtrapolationSettings
) -> None:
    """Add a minute's cells to the experience of their listings, which are among ``states``."""
    counts: dict[str, dict[int, PriceCount]] = {}
    for cell in cells:
        key, price = Listing.key_of(cell), cell.price_minor
        state = states[key]
        if state.has_table and (state.experience.contains(price) or price in state.experience.tested):
            continue
        _, orders, exposures = counts.setdefault(key, {}).get(price, PriceCount(price, 0, 0))
        counts[key][price] = PriceCount(price, orders + cell.orders, exposures + cell.exposures)
    for key, of_listing in counts.items():
        state = states[key]
        state.experience = observed(state.experience, of_listing.values(), settings, has_table=state.has_table)


def known_price(experience: PriceExperience, least_orders: int) -> int | None:
    """Return the newest price of orders before the first table with enough of them; None without one.

    >>> recent = (PriceCount(949, 1, 0), PriceCount(999, 7, 0), PriceCount(899, 20, 0))
    >>> known_price(PriceExperience(recent=recent), 3)
    999
    """
    return next((count.price_minor for count in experience.recent if count.orders >= least_orders), None)


def started(experience: PriceExperience, price_minor: int) -> PriceExperience:
    """Return the experience with a first price: it belongs to the range, and orders before it are settled."""
    low = price_minor if experience.low_minor is None else min(experience.low_minor, price_minor)
    high = price_minor if experience.high_minor is None else max(experience.high_minor, price_minor)
    return _with_range(experience._replace(start_minor=price_minor, recent=()), low, high)


def published(
    experience: PriceExperience,
    prices: Iterable[int],
    main_minor: int,
    before_minor: int,
    *,
    bounded: bool,
) -> PriceExperience:
    """Take the prices of a new table into account.

    Parameters
    ----------
    prices : all prices of the table.
    main_minor, before_minor : its main price, and that of the table before.
    bounded : whether the range bounded the table. Otherwise (a sufficient estimate, an operator's price, a hard
        band against the pace) its prices count as observed as soon as there is evidence.
    """
    low, high = experience.low_minor, experience.high_minor
    if low is None or high is None:
        return experience
    outside = {price for price in prices if not low <= price <= high}
    tested = tuple(price for price in experience.tested if price not in outside)
    if not bounded:
        return experience._replace(tested=tested, step=None)
    step = None
    if not low <= main_minor <= high:
        step, last = PriceStep(min(max(before_minor, low), high), main_minor), experience.step
        if last is not None and (last.to_minor > high) == (main_minor > high):
            step = step._replace(from_minor=last.from_minor)
    return experience._replace(tested=(*tested, *sorted(outside))[-KEPT_TESTED:], step=step)


def grown(experience: PriceExperience, max_step: float) -> PriceExperience:
    """Return the range wider by one step on the side of the last step outside it, and at least up to its price.

    >>> seen = PriceExperience(low_minor=900, high_minor=1000)
    >>> [grown(seen._replace(step=PriceStep(1000, price)), 0.1)[1:3] for price in (1049, 1149, 859)]
    [(900, 1100), (900, 1149), (810, 1000)]
    """
    low, high, step = experience.low_minor, experience.high_minor, experience.step
    if low is None or high is None or step is None:
        return experience
    if step.to_minor > high:
        high = max(floor_minor(high * (1 + max_step)), step.to_minor)
    else:
        low = min(ceil_minor(low * (1 - max_step)), step.to_minor)
    return _with_range(experience, low, high)._replace(step=None)


def _newest_first(recent: tuple[PriceCount, ...], count: PriceCount) -> tuple[PriceCount, ...]:
    others = tuple(each for each in recent if each.price_minor != count.price_minor)
    return (_sum(recent, count), *others)[:KEPT_PRICES]


def _widened(experience: PriceExperience, count: PriceCount, settings: ExtrapolationSettings) -> PriceExperience:
    low, high = experience.low_minor, experience.high_minor
    lower, higher = experience.lower, experience.higher
    if low is None or count.price_minor < low:
        lower = _added(lower, count)
    if high is None or count.price_minor > high:
        higher = _added(higher[::-1], count)[::-1]
    experience = experience._replace(lower=lower, higher=higher)
    low, high = _end(lower, low, settings), _end(higher, high, settings)
    # With few observations the ends cross: nothing is known yet.
    return experience if low is None or high is None or low > high else _with_range(experience, low, high)


def _end(counts: Sequence[PriceCount], otherwise: int | None, settings: ExtrapolationSettings) -> int | None:
    """Return the first price at which the counts from the outermost one on are evidence enough."""
    evidence = 0.0
    for count in counts:
        evidence += count.orders / settings.least_orders + count.exposures / settings.least_exposures
        if evidence >= 1.0:
            return count.price_minor
    return otherwise


def _with_range(experience: PriceExperience, low: int, high: int) -> PriceExperience:
    """Set the range, and drop counts and prices inside it."""
    return experience._replace(
        low_minor=low,
        high_minor=high,
        lower=tuple(count for count in experience.lower if count.price_minor < low),
        higher=tuple(count for count in experience.higher if count.price_minor > high),
        tested=tuple(price for price in experience.tested if not low <= price <= high),
    )


def _added(ascending: tuple[PriceCount, ...], count: PriceCount) -> tuple[PriceCount, ...]:
    others = [each for each in ascending if each.price_minor != count.price_minor]
    return tuple(sorted([*others, _sum(ascending, count)]))


def _sum(counts: Iterable[PriceCount], count: PriceCount) -> PriceCount:
    """Return a count plus the one of its price among some."""
    price, orders, exposures = count
    for each in counts:
        if each.price_minor == price:
            return PriceCount(price, orders + each.orders, exposures + each.exposures)
    return count
