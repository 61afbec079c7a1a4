"""Which customers do not look at rivals' prices, how many price requests are theirs, what they would pay.

Data per customer: purchases n so far, and how many of them, a, were made above the rivals' price of
that moment (the order repeats it, so demand_job counts both in SQL; stream ``segments``). The stream counts by
periods of ``memory_days``, and n and a are sums over a customer's periods: the stream holds the last periods only,
Redis holds all of them, so that a customer who returns is known.

  (1) prior      π = (α m + Σa) / (α + Σn) over a uniform sample of customers    Beta-smoothed
  (2) myopia     = (a + w π) / (n + w),  w = 1 purchase (0: the observed share)
  (3) segment    = myopic if myopia > .20, else strategic          (003 § G, science § 2)
  (4) newcomer   (n = 0): myopic with the prior *customer* share, by a hash of the pseudonym, so that
                 one customer always gets the same answer and shares come out right on average
  (5) C_k        = price requests of segment k / price requests of all segments; Σ C_k = 1
  (6) a price at which the sale probability is half of that at p̄, under S = s̄ (p/p̄)^ε:
                 willingness to pay = p̄ 2^(−1/ε)                     (science § 4)
  (7) a share C from n requests is sufficient when z √(C(1−C)/n) < w_rel C   (science § 5)

The sample is a bottom-k sketch: the k customers whose hashes are lowest. It is uniform over distinct
customers, bounded, mergeable, and does not depend on the order in which they came.

The prior is the tenant's: a ``segments`` record names no market.
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
FLATTEST_ELASTICITY = -0.25
"""Demand flatter than this has no half point worth naming (it would be 16 times the price)."""


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """How customers are told apart; defaults are the policy's.

    Parameters
    ----------
    myopia_threshold : above it a customer is myopic (003: .20).
    smoothing_purchases : w of (2).
    prior_share, prior_weight : m and α of (1): the share believed before any data (003, Fig. 2: .09).
    sample : customers in the sketch.
    memory_days : days of event time in a period of the stream's counts.
    """

    myopia_threshold: float = 0.20
    smoothing_purchases: float = 1.0
    prior_share: float = 0.09
    prior_weight: float = 20.0
    sample: int = 256
    memory_days: int = 30

    def period(self, event_time_ms: int) -> int:
        """Return the first day (since 1970-01-01) of the period that holds a purchase.

        A day, not the period's number: numbers of another ``memory_days`` would meet other periods.

        >>> SegmentSettings(memory_days=30).period(61 * 86_400_000)
        60
        """
        return event_time_ms // (self.memory_days * DAY_MS) * self.memory_days


def myopia(purchases: int, above_offer: int, prior: float, settings: SegmentSettings | None = None) -> float:
    """Smoothed share of a customer's purchases above the rivals' price (2), in [0, 1].

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
    """Segment of a customer with purchases (3).

    >>> segment_of(10, 3, prior=0.09), segment_of(10, 1, prior=0.09)
    ('myopic', 'strategic')
    """
    settings = settings or SegmentSettings()
    return MYOPIC if myopia(purchases, above_offer, prior, settings) > settings.myopia_threshold else STRATEGIC


def segment_of_periods(
    counts: Iterable[tuple[int, int]], prior: float, settings: SegmentSettings | None = None
) -> str:
    """Return the segment of a customer from the purchases of every period, and those above the rivals' price.

    >>> segment_of_periods([(6, 0), (4, 3)], prior=0.09)
    'myopic'
    """
    bought = list(counts)
    return segment_of(sum(n for n, _ in bought), sum(a for _, a in bought), prior, settings)


def newcomer_segment(customer: str, myopic_share: float) -> str:
    """Segment of a customer without purchases (4): constant per customer, right on average.

    >>> newcomer_segment("c1", 1.0), newcomer_segment("c1", 0.0)
    ('myopic', 'strategic')
    """
    return MYOPIC if unit_draw("newcomer", customer, "segment") < myopic_share * 2**32 else STRATEGIC


def smoothed_share(part: float, whole: float, prior_share: float, prior_weight: float) -> float:
    """Beta-smoothed share (1).

    >>> smoothed_share(0, 0, 0.09, 20.0), smoothed_share(30, 80, 0.2, 20.0)
    (0.09, 0.34)
    """
    return (prior_share * prior_weight + part) / (prior_weight + whole)


def segment_shares(requests: Mapping[str, float]) -> dict[str, float] | None:
    """C_k from price requests by segment (5); None without any.

    >>> segment_shares({"myopic": 1, "strategic": 3})
    {'myopic': 0.25, 'strategic': 0.75}
    """
    total = sum(requests.values())
    return {segment: n / total for segment, n in requests.items()} if total > 0 else None


def willingness_to_pay_minor(mean_price_minor: float | None, elasticity: float | None) -> float | None:
    """Price at which half of the sale probability is left (6); None while demand is unknown or too flat.

    >>> willingness_to_pay_minor(1000.0, -1.0), willingness_to_pay_minor(1000.0, 0.3)
    (2000.0, None)
    """
    if mean_price_minor is None or elasticity is None or elasticity > FLATTEST_ELASTICITY:
        return None
    return mean_price_minor * 2.0 ** (-1.0 / elasticity)


def missing_for_share(share: float, n: float, relative_width: float) -> int:
    """Observations still missing until a share's 90 % interval is within ±``relative_width`` of it (7).

    >>> missing_for_share(0.5, 1000, 0.15), missing_for_share(0.5, 100, 0.15)
    (0, 21)
    """
    if not 0.0 < share < 1.0:
        share = (share * n + 0.5) / (n + 1.0)
    needed = Z_90**2 * (1.0 - share) / (share * relative_width**2)
    return max(0, math.ceil(needed - n))


def sufficiency(missing: int, n: float) -> str:
    """How far a share may be trusted: sufficient, provisional (some data), prior (none)."""
    if n <= 0:
        return Sufficiency.PRIOR.value
    return (Sufficiency.SUFFICIENT if missing == 0 else Sufficiency.PROVISIONAL).value


Counts = tuple[int, int]
"""Purchases of a period, and those of them above the rivals' price."""
BEFORE_PERIODS = -1
"""The period of counts from before there were periods."""
SAMPLED_PERIODS = 3
"""Periods that the sample keeps apart; older ones are summed."""


def purchase_prior(sample: CustomerSample | None, settings: SegmentSettings) -> float:
    """Return the smoothed share of a tenant's purchases made above the rivals' price (1)."""
    _, purchases, above = sample.totals() if sample else (0, 0, 0)
    return smoothed_share(above, purchases, settings.prior_share, settings.prior_weight)


class CustomerSample:
    """Bottom-k sketch of distinct customers with their purchases so far, by period.

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
        # 53 bits: exact as a JSON number everywhere.
        return int(hashlib.md5(customer.encode(), usedforsecurity=False).hexdigest()[:13], 16)

    def observe(self, customer: str, period: int, purchases: int, above_offer: int) -> None:
        """Take a customer's counts of a period; within it they only rise, so the larger of two wins."""
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
            return  # summed already
        periods[period] = max(periods.get(period, (0, 0)), counts)
        if len(periods) > SAMPLED_PERIODS:
            first, second = sorted(periods)[:2]
            (n, a), (more_n, more_a) = periods.pop(first), periods[second]
            periods[second] = (n + more_n, a + more_a)

    def _counts(self) -> Iterator[Counts]:
        for periods in self._held.values():
            yield sum(n for n, _ in periods.values()), sum(a for _, a in periods.values())

    def totals(self) -> tuple[int, int, int]:
        """Return customers, purchases and purchases above the rivals' price in the sample."""
        counts = list(self._counts())
        return len(counts), sum(n for n, _ in counts), sum(a for _, a in counts)

    def myopic_customers(self, prior: float, settings: SegmentSettings) -> int:
        """Return how many customers in the sample are myopic."""
        return sum(segment_of(n, a, prior, settings) == MYOPIC for n, a in self._counts())

    def merge(self, other: CustomerSample) -> None:
        """Take another sample's customers; the result is the sample of both histories."""
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
        """Take rows back, also those of version 1: hash, purchases, above."""
        self._held = {}
        for name, *rest in rows:
            given = rest if rest and isinstance(rest[0], Sequence) else [[BEFORE_PERIODS, *rest]]
            self._held[name] = {period: (n, a) for period, n, a in given}
        self._largest = max(self._held, default=-1)


class SegmentLogic:
    """Pass every buying customer's counts on with the tenant's prior (:class:`features.bucket_logic.BucketLogic`).

    Takes ``segments`` facts (one :class:`schemas.events.SegmentShare`, or ``{"rows": [...]}`` of them)
    and answers ``segment_updates``: a customer's counts of a period, and the prior under which the segment is
    decided. The host's sink adds the counts of other periods, which Redis holds, and writes the segment. The logic
    keeps no customer but the bounded sample.
    """

    name = "segments"
    version = 2

    def __init__(self, settings: SegmentSettings | None = None) -> None:
        self._settings = settings or SegmentSettings()
        self._samples: dict[str, CustomerSample] = {}

    def prior(self, tenant: str) -> float:
        """Share of a tenant's purchases made above the rivals' price (1)."""
        return purchase_prior(self._samples.get(tenant), self._settings)

    def myopic_share(self, tenant: str) -> float:
        """Beta-smoothed share of a tenant's customers who are myopic: what a newcomer gets (4)."""
        settings = self._settings
        sample = self._samples.get(tenant)
        if sample is None:
            return settings.prior_share
        customers, _, _ = sample.totals()
        myopic = sample.myopic_customers(self.prior(tenant), settings)
        return smoothed_share(myopic, customers, settings.prior_share, settings.prior_weight)

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Nothing: segments follow purchases, not minutes."""
        return []

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Take customers' counts; one update per customer and period, under the prior after all of them."""
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
        """Plain data."""
        return {
            "v": self.version,
            "samples": {tenant: s.snapshot() for tenant, s in sorted(self._samples.items())},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If it is of another version.
        """
        if snapshot.get("v") != 1:  # Version 1 has no periods in its samples.
            refuse_other_version("segments", self.version, snapshot)
        self._samples = {}
        for tenant, rows in snapshot["samples"].items():
            self._samples[tenant] = CustomerSample(self._settings.sample)
            self._samples[tenant].restore(rows)
