"""Segment rule, sample of customers and SegmentLogic."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.bucket_logic import Batch, Fact, SnapshotError
from features.segments.customers import (
    DAY_MS,
    CustomerSample,
    SegmentLogic,
    SegmentSettings,
    missing_for_share,
    myopia,
    new_customer_segment,
    segment_of,
    segment_of_periods,
    segment_shares,
    willingness_to_pay_minor,
)


def a_share(customer: str, purchases: int, above: int, tenant: str = "acme", at: int = 1) -> dict[str, object]:
    return {
        "tenant": tenant, "customer": customer, "purchases": purchases, "above_offer": above, "event_time_ms": at,
    }  # fmt: skip


def a_fact(*rows: dict[str, object]) -> Fact:
    return Fact("segments", {"rows": list(rows)}, 1, "segments-0-0", 1)


def test_customer_with_more_than_a_fifth_of_purchases_above_rivals_is_myopic():
    observed = SegmentSettings(smoothing_purchases=0.0)
    assert segment_of(5, 1, 0.9, observed) == "strategic", "the threshold of .20 is exclusive"
    assert segment_of(4, 1, 0.0, observed) == "myopic"


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1))
def test_smoothed_myopia_is_between_the_share_and_the_prior(n, a, prior):
    a = min(a, n)
    share = a / n if n else prior
    assert min(share, prior) - 1e-12 <= myopia(n, a, prior) <= max(share, prior) + 1e-12


def test_share_of_myopic_new_customers_equals_the_prior():
    names = [f"customer-{i}" for i in range(4000)]
    share = sum(new_customer_segment(name, 0.3) == "myopic" for name in names) / len(names)
    assert share == pytest.approx(0.3, abs=0.03)
    assert new_customer_segment("c", 0.3) == new_customer_segment("c", 0.3)


@given(st.dictionaries(st.sampled_from(["myopic", "strategic", "all"]), st.integers(0, 999)))
def test_segment_shares_sum_to_one(requests):
    shares = segment_shares(requests)
    assert shares is None if not sum(requests.values()) else sum(shares.values()) == pytest.approx(1)


def test_sale_probability_at_the_willingness_to_pay_is_one_half():
    for elasticity in (-0.5, -1.7, -4.0):
        limit = willingness_to_pay_minor(1000.0, elasticity, -0.25)
        assert (limit / 1000.0) ** elasticity == pytest.approx(0.5)
    assert willingness_to_pay_minor(None, -2.0, -0.25) is None
    assert willingness_to_pay_minor(1000.0, -0.1, -0.25) is None


def test_missing_observations_are_exact():
    share, z = 0.09, 1.6448536269514722
    needed = missing_for_share(share, 0.0001, 0.15)
    half_width = z * (share * (1 - share) / needed) ** 0.5
    assert half_width <= 0.15 * share < z * (share * (1 - share) / (needed - 1)) ** 0.5
    assert missing_for_share(0.0, 50, 0.15) > 0, "a share of 0 in the data is uncertain"


customers = st.lists(
    st.tuples(st.integers(0, 60).map(lambda i: f"c{i}"), st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)),
    max_size=80,
)


def a_sample(rows: list[tuple[str, int, int, int]], size: int = 8) -> CustomerSample:
    sample = CustomerSample(size)
    for row in rows:
        sample.observe(*row)
    return sample


@given(customers, st.randoms(use_true_random=False))
def test_sample_does_not_depend_on_order_or_repeats(seen, order: random.Random):
    shuffled = seen + seen[:5]
    order.shuffle(shuffled)
    assert a_sample(seen).snapshot() == a_sample(shuffled).snapshot()
    assert len(a_sample(seen).snapshot()) <= 8


@given(customers, customers)
def test_merged_samples_equal_the_sample_of_both_histories(one, two):
    merged = a_sample(one)
    merged.merge(a_sample(two))
    assert merged.snapshot() == a_sample(one + two).snapshot()


def test_sample_sums_old_periods():
    sample = a_sample([("c", period, 2, 1) for period in range(50)])
    assert sample.totals() == (1, 100, 50)
    assert len(sample.snapshot()[0]) == 4, "the hash and three periods"
    sample.observe("c", 3, 2, 1)
    assert sample.totals() == (1, 100, 50), "repeat of a summed period"


def test_myopic_share_of_the_sample_estimates_the_share_of_all_customers():
    rng, logic = random.Random(1), SegmentLogic()
    for i in range(5000):
        logic.on_fact(a_fact(a_share(f"c{i}", 10, 9 if rng.random() < 0.3 else 0)))
    assert logic.myopic_share("acme") == pytest.approx(0.3, abs=0.06)
    assert len(logic.snapshot()["samples"]["acme"]) == 256


def test_customer_gets_one_update_per_batch_with_the_last_counts():
    updates = list(SegmentLogic().on_fact(a_fact(a_share("c1", 1, 0), a_share("c2", 4, 0), a_share("c1", 2, 2))))
    assert [(u.stream, u.key, u.value["purchases"], u.value["above_offer"]) for u in updates] == [
        ("segment_updates", "acme:c1", 2, 2),
        ("segment_updates", "acme:c2", 4, 0),
    ]


def test_purchases_of_two_periods_give_two_updates():
    late = 31 * DAY_MS
    updates = SegmentLogic().on_fact(a_fact(a_share("c1", 3, 0), a_share("c1", 1, 1, at=late)))
    assert [(u.value["period"], u.value["purchases"]) for u in updates] == [(0, 3), (30, 1)]


def test_segment_depends_on_the_sum_of_all_periods():
    assert segment_of_periods([(6, 3), (3, 0)], 0.09) == segment_of(9, 3, 0.09) == "myopic"
    assert segment_of_periods([(3, 0)], 0.09) == "strategic"


def test_single_record_gives_one_update():
    logic = SegmentLogic()
    assert len(list(logic.on_fact(Fact("segments", a_share("c", 3, 0), 1, "a", 1)))) == 1


def test_other_inputs_give_no_update():
    logic = SegmentLogic()
    assert list(logic.on_fact(Fact("offers", {}, 1, "a", 1))) == [] == list(logic.on_batch(Batch(0, 60_000)))


def test_restart_changes_nothing():
    facts = [a_fact(a_share(f"c{i % 40}", i, i // 3)) for i in range(1, 90)]
    whole = SegmentLogic(SegmentSettings(sample=16))
    first = SegmentLogic(SegmentSettings(sample=16))
    for fact in facts[:50]:
        first.on_fact(fact)
    again = SegmentLogic(SegmentSettings(sample=16))
    again.restore(orjson.loads(orjson.dumps(first.snapshot())))
    outputs = [list(again.on_fact(f)) for f in facts[50:]]
    assert [list(whole.on_fact(f)) for f in facts][50:] == outputs


def test_snapshot_of_another_version_is_rejected():
    with pytest.raises(SnapshotError):
        SegmentLogic().restore({"v": 7})
