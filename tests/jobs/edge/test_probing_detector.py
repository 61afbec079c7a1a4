"""The detector of probing against a plain model of its definition, and its bounds."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.edge.admission.probing import (
    MOST_EPISODES,
    Caller,
    Episode,
    Pattern,
    ProbingDetector,
    Thresholds,
    network_of,
)

ANN, BOB = Caller("k1", "192.0.2.1"), Caller("k1", "192.0.2.2")
WINDOW_MS = 100


class Request(NamedTuple):
    """A request of a test: a caller, what it asks, and the price that it would be answered."""

    caller: Caller
    listing: str
    customer: str
    price: int
    after_ms: int


class Model:
    """The definition: every request is kept, and each count is made again."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds
        self._asked: list[tuple[int, Caller, str, str]] = []
        self._answered: list[tuple[int, Caller, str, int]] = []
        self._above_ms: dict[Caller, int] = {}

    def default(self, now_ms: int, request: Request) -> bool:
        caller, listing = request.caller, request.listing
        since = now_ms - self._limits.window_ms
        self._asked.append((now_ms, caller, listing, request.customer))
        mine = [each for each in self._asked if each[0] > since and each[1] == caller]
        if len({each[2] for each in mine}) > self._limits.listings:
            self._above_ms[caller] = now_ms
        if len({each[3] for each in mine if each[2] == listing}) > self._limits.customers:
            self._above_ms[caller] = now_ms
        if self.is_probing(caller, now_ms):
            return True
        self._answered.append((now_ms, caller, listing, request.price))
        prices = {each[3] for each in self._answered if each[0] > since and each[1:3] == (caller, listing)}
        if len(prices) > self._limits.prices:
            self._above_ms[caller] = now_ms
        return self.is_probing(caller, now_ms)

    def is_probing(self, caller: Caller, now_ms: int) -> bool:
        return self._above_ms.get(caller, now_ms - self._limits.window_ms) > now_ms - self._limits.window_ms


def default(detector: ProbingDetector, now_ms: int, request: Request) -> bool:
    """Return whether a request is answered with the default price, as the quotes ask the detector."""
    if detector.asked(request.caller, request.listing, request.customer, now_ms):
        return True
    return detector.answered(request.caller, request.listing, request.price, now_ms)


requests = st.lists(
    st.builds(
        Request,
        st.sampled_from([ANN, BOB]),
        st.sampled_from("abcdef"),
        st.sampled_from("uvwxyz"),
        st.integers(1, 6),
        st.sampled_from([0, 1, 7, 30, 99, 100, 101]),
    ),
    max_size=60,
)
thresholds = st.builds(Thresholds, st.just(WINDOW_MS), *(st.integers(1, 4) for _ in Pattern))


@settings(max_examples=400, deadline=None)
@given(requests, thresholds)
def test_verdicts_equal_the_definition(asked: list[Request], limits: Thresholds) -> None:
    detector, model, now_ms = ProbingDetector(limits), Model(limits), 1_000
    for request in asked:
        now_ms += request.after_ms
        assert default(detector, now_ms, request) == model.default(now_ms, request)
        assert detector.is_probing(request.caller, now_ms) == model.is_probing(request.caller, now_ms)


@settings(max_examples=200, deadline=None)
@given(requests, st.integers(1, 3), st.integers(1, 5))
def test_caller_below_all_thresholds_is_never_found(asked: list[Request], customers: int, listings: int) -> None:
    detector, now_ms = ProbingDetector(Thresholds(WINDOW_MS, listings, customers, 6)), 0
    for request in asked:
        now_ms += request.after_ms
        held = request._replace(
            listing="abcdef"["abcdef".index(request.listing) % listings],
            customer="uvwxyz"["uvwxyz".index(request.customer) % customers],
        )
        assert not default(detector, now_ms, held)
    assert sum(detector.began.values()) == 0 and detector.probing(now_ms) == 0


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Pattern), st.integers(1, 50), st.integers(0, WINDOW_MS - 1))
def test_count_above_a_threshold_within_the_window_is_always_found(
    pattern: Pattern, threshold: int, span_ms: int
) -> None:
    limits = dict.fromkeys(Pattern, 1_000) | {pattern: threshold}
    detector = ProbingDetector(Thresholds(WINDOW_MS, *limits.values()))
    verdicts = []
    for i in range(threshold + 1):
        number = dict.fromkeys(Pattern, 0) | {pattern: i}
        request = Request(
            ANN, f"l{number[Pattern.LISTINGS]}", f"c{number[Pattern.CUSTOMERS]}", 100 + number[Pattern.PRICES], 0
        )
        verdicts.append(default(detector, 5 + span_ms * i // threshold, request))
    assert verdicts == [False] * threshold + [True]
    assert detector.began == dict.fromkeys(Pattern, 0) | {pattern: 1}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(0, 20)), max_size=400))
def test_memory_is_bounded_over_callers_and_within_one(asked: list[tuple[int, int, int]]) -> None:
    limits, most = Thresholds(WINDOW_MS, 5, 4, 3), 60
    detector = ProbingDetector(limits, most)
    of_one = 1 + (limits.listings + 1) * (limits.customers + limits.prices + 3)
    for i, (caller, listing, customer) in enumerate(asked):
        default(detector, i, Request(Caller("k", str(caller)), str(listing), str(customer), i, 0))
        assert detector.entries <= max(most, of_one)
        assert len(detector) <= most


def test_caller_used_least_recently_is_forgotten_first() -> None:
    detector = ProbingDetector(Thresholds(WINDOW_MS, 2, 9, 9), max_entries=16)
    for now_ms, (caller, listing) in enumerate([(ANN, "a"), (BOB, "a"), (ANN, "b")]):
        default(detector, now_ms, Request(caller, listing, "u", 1, 0))
    # Each new caller has four entries: itself, a listing, a customer and a price.
    default(detector, 3, Request(Caller("k2", "192.0.2.1"), "a", "u", 1, 0))
    assert len(detector) == 3 and detector.entries == 15
    default(detector, 4, Request(Caller("k3", "192.0.2.1"), "a", "u", 1, 0))
    assert len(detector) == 3 and detector.entries == 15, "BOB is forgotten"
    assert default(detector, 5, Request(ANN, "c", "u", 1, 0)), "ANN is not"


def test_what_left_the_window_is_forgotten() -> None:
    detector = ProbingDetector(Thresholds(WINDOW_MS, 50, 50, 50))
    for i in range(40):
        default(detector, i, Request(ANN, f"l{i % 7}", f"c{i}", i, 0))
    default(detector, 39 + WINDOW_MS, Request(ANN, "a", "u", 1, 0))
    assert detector.entries == 4


def test_episode_is_reported_once_and_ends_a_window_after_the_last_excess() -> None:
    found: list[Episode] = []
    detector = ProbingDetector(Thresholds(WINDOW_MS, 9, 2, 9), on_episode=found.append)
    for now_ms, customer in enumerate("uvwxyz"):
        detector.asked(ANN, "a", customer, now_ms)
    assert found == [Episode(ANN, Pattern.CUSTOMERS, 2)]
    assert detector.probing(5) == 1 and detector.default_answers == 4
    assert detector.is_probing(ANN, 5 + WINDOW_MS - 1) and not detector.is_probing(ANN, 5 + WINDOW_MS)
    assert detector.probing(5 + WINDOW_MS) == 0
    for now_ms, customer in enumerate("uvw", start=300):
        detector.asked(ANN, "a", customer, now_ms)
    assert len(found) == 2 and detector.began[Pattern.CUSTOMERS] == 2


def test_episodes_are_bounded() -> None:
    detector = ProbingDetector(Thresholds(WINDOW_MS, 1, 9, 9))
    for i in range(MOST_EPISODES + 10):
        for listing in "ab":
            detector.asked(Caller("k", str(i)), listing, "u", 0)
    assert detector.probing(0) == MOST_EPISODES
    assert not detector.is_probing(Caller("k", "9"), 0) and detector.is_probing(Caller("k", "10"), 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("a:b", "a:c", False),
    ],
)
def test_network_of_an_ipv6_address_is_its_first_64_bits(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) == same
