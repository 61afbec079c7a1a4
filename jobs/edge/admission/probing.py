"""ProbingDetector: finds callers that collect prices, by what they ask for. Pure.

A caller is a public key at one network: an IPv4 address, or the first 64 bits of an IPv6 address, of which one
holder has all. Three patterns are counted over a sliding window of wall time:

- many listings: distinct listings of which the caller was answered a price;
- many customers: distinct customers (or sessions of guests) for whom it asked the price of one listing;
- a price ladder: distinct prices that it was answered for one listing.

A count above its threshold begins an episode, which lasts until no count has been above for the length of the
window. Memory is bounded: the callers used least recently are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple, TypeVar

MOST_EPISODES = 10_000
"""Episodes remembered at the same time; beyond them the one that began first is forgotten."""
NETWORK_BITS = 64
"""Bits of an IPv6 address that name its network."""

K = TypeVar("K")


class Pattern(StrEnum):
    """What a caller asks for in order to collect prices."""

    LISTINGS = "listings"
    CUSTOMERS = "customers"
    PRICES = "prices"


PATTERN_WORDS = {
    Pattern.LISTINGS: "listings",
    Pattern.CUSTOMERS: "customers for one listing",
    Pattern.PRICES: "prices of one listing",
}
"""What each pattern counts, in words."""


class Thresholds(NamedTuple):
    """Most listings, customers for one listing, and prices of one listing within a window of wall time."""

    window_ms: int
    listings: int
    customers: int
    prices: int

    def of(self, pattern: Pattern) -> int:
        """Return the threshold of a pattern.

        >>> Thresholds(1000, 3, 2, 1).of(Pattern.CUSTOMERS)
        2
        """
        return {
            Pattern.LISTINGS: self.listings,
            Pattern.CUSTOMERS: self.customers,
            Pattern.PRICES: self.prices,
        }[pattern]


class Caller(NamedTuple):
    """A public key at one network."""

    key_id: str
    network: str


class Episode(NamedTuple):
    """The beginning of an episode: who, by which pattern, and the count that was exceeded."""

    caller: Caller
    pattern: Pattern
    threshold: int


class _Listing:
    """What a caller asked of one listing: when last, and the times of its customers and prices."""

    __slots__ = ("at_ms", "customers", "prices")

    def __init__(self) -> None:
        self.at_ms = 0
        self.customers: dict[str, int] = {}
        self.prices: dict[int, int] = {}

    @property
    def entries(self) -> int:
        return 1 + len(self.customers) + len(self.prices)


class _Asked:
    """What a caller asked within the window, the listing asked least recently first."""

    __slots__ = ("entries", "listings")

    def __init__(self) -> None:
        self.listings: OrderedDict[str, _Listing] = OrderedDict()
        self.entries = 1


class ProbingDetector:
    """Counts what each caller asks for and says which callers are probing.

    Parameters
    ----------
    thresholds : counts above which a caller is probing, each at least 1.
    max_entries : most listings, customers and prices remembered over all callers. The caller in use is kept, so
        that one caller may hold more: at most (listings + 1) × (customers + prices + 3) entries.
    on_episode : called once when an episode begins.

    Attributes
    ----------
    entries : listings, customers, prices and callers that are remembered.
    began : episodes that have begun, by pattern.
    default_answers : times that a caller was to be answered with the default price.

    Examples
    --------
    >>> detector = ProbingDetector(Thresholds(1000, listings=2, customers=9, prices=9))
    >>> ann = Caller("k1", "192.0.2.7")
    >>> [detector.asked(ann, listing, "c1", now_ms) for now_ms, listing in enumerate("aabbc")]
    [False, False, False, False, True]
    >>> detector.is_probing(ann, 1003), detector.is_probing(ann, 1004), detector.began[Pattern.LISTINGS]
    (True, False, 1)
    """

    def __init__(
        self,
        thresholds: Thresholds,
        max_entries: int = 300_000,
        on_episode: Callable[[Episode], None] = lambda episode: None,
    ) -> None:
        self.thresholds, self._max_entries, self._on_episode = thresholds, max_entries, on_episode
        # Least recently used first.
        self._callers: OrderedDict[Caller, _Asked] = OrderedDict()
        self._until_ms: dict[Caller, int] = {}
        self.entries = 0
        self.began = dict.fromkeys(Pattern, 0)
        self.default_answers = 0

    def asked(self, caller: Caller, listing: str, customer: str, now_ms: int) -> bool:
        """Count a request that has a price; return whether the caller is to be answered with the default price.

        Parameters
        ----------
        now_ms : wall time, epoch ms.
        """
        callers = self._callers
        asked = callers.get(caller)
        if asked is None:
            asked = callers[caller] = _Asked()
            self.entries += 1
        else:
            callers.move_to_end(caller)
        window_ms, most_listings, most_customers, _ = self.thresholds
        since_ms = now_ms - window_ms
        listings = asked.listings
        known = listings.get(listing)
        if known is None:
            known = listings[listing] = _Listing()
            more = 1
        else:
            listings.move_to_end(listing)
            more = 0
        known.at_ms = now_ms
        more -= len(known.customers)
        if _above(known.customers, customer, now_ms, since_ms, most_customers):
            self._found(caller, Pattern.CUSTOMERS, now_ms)
        more += len(known.customers)
        oldest = next(iter(listings.values()))
        while oldest.at_ms <= since_ms or len(listings) > most_listings + 1:
            more -= listings.popitem(last=False)[1].entries
            oldest = next(iter(listings.values()))
        if len(listings) > most_listings:
            self._found(caller, Pattern.LISTINGS, now_ms)
        if more:
            self._add(asked, more)
        if not self.is_probing(caller, now_ms):
            return False
        self.default_answers += 1
        return True

    def answered(self, caller: Caller, listing: str, price_minor: int, now_ms: int) -> bool:
        """Count a price before it is answered; return whether the default price is to be answered instead.

        Called after :meth:`asked` of the same listing.
        """
        asked = self._callers[caller]
        prices = asked.listings[listing].prices
        before = len(prices)
        if _above(prices, price_minor, now_ms, now_ms - self.thresholds.window_ms, self.thresholds.prices):
            self._found(caller, Pattern.PRICES, now_ms)
        if len(prices) != before:
            self._add(asked, len(prices) - before)
        return self.is_probing(caller, now_ms)

    def is_probing(self, caller: Caller, now_ms: int) -> bool:
        """Return whether an episode of a caller lasts."""
        until_ms = self._until_ms
        return bool(until_ms) and until_ms.get(caller, now_ms) > now_ms

    def probing(self, now_ms: int) -> int:
        """Return the number of episodes that last, and forget those that have ended."""
        self._until_ms = {caller: until for caller, until in self._until_ms.items() if until > now_ms}
        return len(self._until_ms)

    def __len__(self) -> int:
        """Return the number of callers that are remembered."""
        return len(self._callers)

    def _found(self, caller: Caller, pattern: Pattern, now_ms: int) -> None:
        begins = not self.is_probing(caller, now_ms)
        if begins:
            # An episode that begins again is the newest.
            self._until_ms.pop(caller, None)
            if len(self._until_ms) >= MOST_EPISODES:
                del self._until_ms[next(iter(self._until_ms))]
        self._until_ms[caller] = now_ms + self.thresholds.window_ms
        if begins:
            self.began[pattern] += 1
            self._on_episode(Episode(caller, pattern, self.thresholds.of(pattern)))

    def _add(self, asked: _Asked, more: int) -> None:
        """Note how many entries the caller in use has more; forget the callers used least recently."""
        asked.entries += more
        self.entries += more
        while self.entries > self._max_entries and len(self._callers) > 1:
            self.entries -= self._callers.popitem(last=False)[1].entries


class Inquiry(NamedTuple):
    """A public key's request: who asks, and when (wall time, epoch ms)."""

    detector: ProbingDetector
    caller: Caller
    now_ms: int

    def asked(self, listing: str, customer: str) -> bool:
        """Count a listing asked for; return whether the default price is to be answered."""
        return self.detector.asked(self.caller, listing, customer, self.now_ms)

    def answered(self, listing: str, price_minor: int) -> bool:
        """Count a price before it is answered; return whether the default price is to be answered instead."""
        return self.detector.answered(self.caller, listing, price_minor, self.now_ms)


def _above(seen: dict[K, int], what: K, now_ms: int, since_ms: int, threshold: int) -> bool:
    """Note something seen now; return whether more than ``threshold`` were seen after ``since_ms``.

    ``seen`` has the times, oldest first, and keeps the newest ``threshold + 1``.
    """
    seen.pop(what, None)
    seen[what] = now_ms
    if len(seen) > 1:
        oldest = next(iter(seen))
        while seen[oldest] <= since_ms or len(seen) > threshold + 1:
            del seen[oldest]
            oldest = next(iter(seen))
    return len(seen) > threshold


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """Return the network of an address: of IPv6 the first 64 bits, else the address itself.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2"), network_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    free = 128 - NETWORK_BITS
    return f"{IPv6Address(int(found) >> free << free)}/{NETWORK_BITS}"
