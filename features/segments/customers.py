"""Customer segments, their shares of price requests and their willingness to pay.

A myopic customer buys without regard to rivals' prices, a strategic customer compares them. Data per customer:
purchases n, and the number a of purchases above the rivals' price at that time (an order contains that price, so
demand_job counts both in SQL; stream ``segments``). The stream counts by periods of ``memory_days``, and n and a
are sums over a customer's periods. The stream keeps the last periods only, and Redis keeps all of them, so that a
returning customer keeps the segment.

  (1) prior      π = (α m + Σa) / (α + Σn) over a uniform sample of customers    Beta-smoothed
  (2) myopia     = (a + w π) / (n + w),  w = 1 purchase (0: the observed share)
  (3) segment    = myopic if myopia > .20, else strategic          (003 § G, science § 2)
  (4) new customer (n = 0): myopic with the prior *customer* share, by a hash of the pseudonym, so that
                 the segment of a customer is constant and the expected shares are correct
  (5) C_k        = price requests of segment k / price requests of all segments; Σ C_k = 1
  (6) a price at which the sale probability is half of that at p̄, under S = s̄ (p/p̄)^ε:
                 willingness to pay = p̄ 2^(−1/ε)                     (science § 4)
  (7) a share C from n requests is sufficient when z √(C(1−C)/n) < w_rel C   (science § 5)

The sample is a bottom-k sketch: the k customers with the lowest hashes. It is uniform over distinct customers,
bounded, mergeable and independent of the order of arrival.

The prior is per tenant, because a ``segments`` record contains no market.

The file exceeds 300 lines because it contains the segment rule, its sample and its logic. Redis sinks, rebuild and
feature_job use them together, and they share the equations above.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.bucket_logic import Batch, Fact, Output, refuse_other_version
from schemas.codes import Sufficiency
from schemas.price_table import unit_draw
from schemas.time_units import DAY_MS

MYOPIC, STRATEGIC = "myopic", "strategic"
SEGMENTS: tuple[str, ...] = (MYOPIC, STRATEGIC)
Z_90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """Parameters of the segment rule; the defaults are the policy's.

    Parameters
    ----------
    myopia_threshold : a customer above it is myopic (003 § G: .20).
    smoothing_purchases : w of (2).
    prior_share, prior_weight : m and α of (1); prior share from 003 § I: .09.
    sample : number of customers in the sketch.
    memory_days : length of a period in days of event time.
    """

    myopia_threshold: float = 0.20
    smoothing_purchases: float = 1.0
    prior_share: float = 0.09
    prior_weight: float = 20.0
    sample: int = 256
    memory_days: int = 30

    def period(self, event_time_ms: int) -> int:
        """Return the first day (since 1970-01-01) of the period of a purchase.

        A period is identified by its first day and not by a sequence number, so that periods of different
        ``memory_days`` are not confused.

        Examples
        --------
        >>> SegmentSettings(memory_days=30).period(61 * 86_400_000)
        60
        """
        return event_time_ms // (self.memory_days * DAY_MS) * self.memory_days


def myopia(purchases: int, above_offer: int, prior: float, settings: SegmentSettings | None = None) -> float:
    """Return the smoothed share of a customer's purchases above the rivals' price (2), in [0, 1].

    Examples
    --------
    >>> myopia(4, 1, prior=0.1, settings=SegmentSettings(smoothing_purchases=0))
    0.25
    >>> myopia(0, 0, prior=0.1)
    0.1
    """
    weight = (settings or SegmentSettings()).smoothing_purchases
    if purchases + weight <= 0:
        return prior
    return (above_offer + weight * prior) / (purchases + weight)


def segment_of(purchases: int, above_offer: int, prior: float, settings: SegmentSettings | None = None) -> str:
    """Return the segment of a customer with purchases (3).

    Examples
    --------
    >>> segment_of(10, 3, prior=0.09), segment_of(10, 1, prior=0.09)
    ('myopic', 'strategic')
    """
    settings = settings or SegmentSettings()
    return MYOPIC if myopia(purchases, above_offer, prior, settings) > settings.myopia_threshold else STRATEGIC


def segment_of_periods(
    counts: Iterable[tuple[int, int]], prior: float, settings: SegmentSettings | None = None
) -> str:
    """Return a customer's segment from (purchases, purchases above the rivals' price) of each period.

    Examples
    --------
    >>> segment_of_periods([(6, 0), (4, 3)], prior=0.09)
    'myopic'
    """
    bought = list(counts)
    return segment_of(sum(n for n, _ in bought), sum(a for _, a in bought), prior, settings)


def new_customer_segment(customer: str, myopic_share: float) -> str:
    """Return the segment of a customer without purchases (4); constant per customer.

    Examples
    --------
    >>> new_customer_segment("c1", 1.0), new_customer_segment("c1", 0.0)
    ('myopic', 'strategic')
    """
    return MYOPIC if unit_draw("newcomer", customer, "segment") < myopic_share * 2**32 else STRATEGIC


def smoothed_share(part: float, whole: float, prior_share: float, prior_weight: float) -> float:
    """Return the Beta-smoothed share (1).

    Examples
    --------
    >>> smoothed_share(0, 0, 0.09, 20.0), smoothed_share(30, 80, 0.2, 20.0)
    (0.09, 0.34)
    """
    return (prior_share * prior_weight + part) / (prior_weight + whole)


def segment_shares(requests: Mapping[str, float]) -> dict[str, float] | None:
    """Return C_k from price requests by segment (5), or None without requests.

    Examples
    --------
    >>> segment_shares({"myopic": 1, "strategic": 3})
    {'myopic': 0.25, 'strategic': 0.75}
    """
    total = sum(requests.values())
    return {segment: n / total for segment, n in requests.items()} if total > 0 else None


def willingness_to_pay_minor(
    mean_price_minor: float | None, elasticity: float | None, max_elasticity: float
) -> float | None:
    """Return the price with half of the sale probability (6), or None if demand is unknown or too inelastic.

    Parameters
    ----------
    mean_price_minor : mean quoted price in minor units, or None.
    elasticity : own-price elasticity, or None.
    max_elasticity : largest elasticity with a willingness to pay, < 0.

    Examples
    --------
    >>> [willingness_to_pay_minor(1000.0, elasticity, -0.25) for elasticity in (-1.0, 0.3)]
    [2000.0, None]
    """
    if mean_price_minor is None or elasticity is None or elasticity > max_elasticity:
        return None
    return mean_price_minor * float(2.0 ** (-1.0 / elasticity))


def missing_for_share(share: float, n: float, relative_width: float) -> int:
    """Return the number of observations still needed for a sufficient share (7).

    The 90 % interval of a sufficient share is within ±``relative_width`` of it.

    Examples
    --------
    >>> missing_for_share(0.5, 1000, 0.15), missing_for_share(0.5, 100, 0.15)
    (0, 21)
    """
    if not 0.0 < share < 1.0:
        share = (share * n + 0.5) / (n + 1.0)
    needed = Z_90**2 * (1.0 - share) / (share * relative_width**2)
    return max(0, math.ceil(needed - n))


def sufficiency(missing: int, n: float) -> str:
    """Return whether the data of a share suffice: sufficient, provisional (some data) or prior (none)."""
    if n <= 0:
        return Sufficiency.PRIOR.value
    return (Sufficiency.SUFFICIENT if missing == 0 else Sufficiency.PROVISIONAL).value


Counts = tuple[int, int]
"""Purchases of a period, and how many of them were above the rivals' price."""
NO_PERIOD = -1
"""Period of counts from records without a period."""
SAMPLED_PERIODS = 3
"""Number of periods that the sample keeps separately; older periods are summed."""


def purchase_prior(sample: CustomerSample | None, settings: SegmentSettings) -> float:
    """Return the smoothed share of a tenant's purchases above the rivals' price (1)."""
    _, purchases, above = sample.totals() if sample else (0, 0, 0)
    return smoothed_share(above, purchases, settings.prior_share, settings.prior_weight)


class CustomerSample:
    """Bottom-k sketch of distinct customers with their purchases by period.

    Examples
    --------
    >>> sample = CustomerSample(size=2)
    >>> for customer in ("a", "b", "c", "a"):
    ...     sample.observe(customer, period=7, purchases=10, above_offer=5)
    >>> sample.totals()
    (2, 20, 10)
    """

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._held: dict[int, dict[int, Counts]] = {}
        self._largest = -1

    @staticmethod
    def _hash(customer: str) -> int:
        # 52 bits, which every JSON reader represents exactly.
        return int(hashlib.md5(customer.encode(), usedforsecurity=False).hexdigest()[:13], 16)

    def observe(self, customer: str, period: int, purchases: int, above_offer: int) -> None:
        """Store a customer's counts of a period; counts only increase, so the larger of two is kept."""
        self._take(self._hash(customer), period, (purchases, above_offer))

    def _take(self, name: int, period: int, counts: Counts) -> None:
        periods = self._held.get(name)
        if periods is None:
            if len(self._held) >= self._size and name > self._largest:
                return
            periods = self._held[name] = {}
            if len(self._held) > self._size:
                del self._held[self._largest]
            self._largest = max(self._held)
        if len(periods) == SAMPLED_PERIODS and period < min(periods):
            return  # already part of the sum
        periods[period] = max(periods.get(period, (0, 0)), counts)
        if len(periods) > SAMPLED_PERIODS:
            first, second = sorted(periods)[:2]
            (n, a), (more_n, more_a) = periods.pop(first), periods[second]
            periods[second] = (n + more_n, a + more_a)

    def _counts(self) -> Iterator[Counts]:
        for periods in self._held.values():
            yield sum(n for n, _ in periods.values()), sum(a for _, a in periods.values())

    def totals(self) -> tuple[int, int, int]:
        """Return the numbers of customers, purchases, and purchases above the rivals' price."""
        counts = list(self._counts())
        return len(counts), sum(n for n, _ in counts), sum(a for _, a in counts)

    def myopic_customers(self, prior: float, settings: SegmentSettings) -> int:
        """Return the number of myopic customers in the sample."""
        return sum(segment_of(n, a, prior, settings) == MYOPIC for n, a in self._counts())

    def merge(self, other: CustomerSample) -> None:
        """Add another sample's customers; the result is the sample of both histories."""
        for name in sorted(other._held):
            for period in sorted(other._held[name]):
                self._take(name, period, other._held[name][period])

    def snapshot(self) -> list[list[Any]]:
        """Return plain rows: hash, then [period, purchases, above] of each period."""
        return [
            [name, *([period, *periods[period]] for period in sorted(periods))]
            for name, periods in sorted(self._held.items())
        ]

    def restore(self, rows: Iterable[Sequence[Any]]) -> None:
        """Restore the sample from rows; rows of version 1 contain hash, purchases and above."""
        self._held = {}
        for name, *rest in rows:
            given = rest if rest and isinstance(rest[0], Sequence) else [[NO_PERIOD, *rest]]
            self._held[name] = {period: (n, a) for period, n, a in given}
        self._largest = max(self._held, default=-1)


class SegmentLogic:
    """Update of customers' segments from their purchases (a :class:`features.bucket_logic.BucketLogic`).

    The input is ``segments`` facts: one :class:`schemas.records.counts.SegmentShare`, or ``{"rows": [...]}`` with
    several. The output is ``segment_updates``: a customer's counts of a period, and the prior for the segment
    rule. The host's sink adds the counts of other periods from Redis and writes the segment. The state contains
    only the bounded sample of customers.
    """

    name = "segments"
    version = 2

    def __init__(self, settings: SegmentSettings | None = None) -> None:
        self._settings = settings or SegmentSettings()
        self._samples: dict[str, CustomerSample] = {}

    def prior(self, tenant: str) -> float:
        """Return the smoothed share of a tenant's purchases above the rivals' price (1)."""
        return purchase_prior(self._samples.get(tenant), self._settings)

    def myopic_share(self, tenant: str) -> float:
        """Return the Beta-smoothed share of a tenant's customers who are myopic, for new customers (4)."""
        settings = self._settings
        sample = self._samples.get(tenant)
        if sample is None:
            return settings.prior_share
        customers, _, _ = sample.totals()
        myopic = sample.myopic_customers(self.prior(tenant), settings)
        return smoothed_share(myopic, customers, settings.prior_share, settings.prior_weight)

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Return no output: segments depend on purchases, not on minutes."""
        return []

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Process customers' counts; return one update per customer and period, with the prior after all rows."""
        if fact.kind != "segments":
            return []
        rows = fact.value.get("rows") or [fact.value]
        period = self._settings.period
        for row in rows:
            sample = self._samples.setdefault(row["tenant"], CustomerSample(self._settings.sample))
            sample.observe(row["customer"], period(row["event_time_ms"]), row["purchases"], row["above_offer"])
        priors = {tenant: self.prior(tenant) for tenant in sorted({row["tenant"] for row in rows})}
        newest = {(row["tenant"], row["customer"], period(row["event_time_ms"])): row for row in rows}
        return [self._update(newest[key], key[2], priors[key[0]]) for key in sorted(newest)]

    @staticmethod
    def _update(row: Mapping[str, Any], period: int, prior: float) -> Output:
        value = {
            "tenant": row["tenant"],
            "customer": row["customer"],
            "period": period,
            "purchases": row["purchases"],
            "above_offer": row["above_offer"],
            "prior": prior,
        }
        return Output("segment_updates", f"{row['tenant']}:{row['customer']}", value, row["event_time_ms"])

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "v": self.version,
            "samples": {tenant: s.snapshot() for tenant, s in sorted(self._samples.items())},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        if snapshot.get("v") != 1:  # Version 1 has no periods in its samples.
            refuse_other_version("segments", self.version, snapshot)
        self._samples = {}
        for tenant, rows in snapshot["samples"].items():
            self._samples[tenant] = CustomerSample(self._settings.sample)
            self._samples[tenant].restore(rows)
