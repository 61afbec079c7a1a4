"""River's ADWIN as numbers, so that a detector is part of a snapshot.

River 0.23 keeps the window in a compiled class without a public state; its pickle protocol gives the counters and,
per row of exponentially growing buckets, totals and variances. Only this module reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from river import drift
from river.drift import adwin_c

_COUNTERS = 15
"""Numbers of the state that precede its buckets."""


def export_adwin(detector: drift.ADWIN) -> list[float]:
    """Return River's ADWIN as numbers: its counters, then per row of buckets their number, totals and variances.

    Examples
    --------
    >>> one = drift.ADWIN(delta=0.002, clock=1)
    >>> for k in range(40):
    ...     _ = one.update(float(k % 5))
    >>> twin = import_adwin(export_adwin(one), 0.002, 10)
    >>> one.update(3.0)
    >>> twin.update(3.0)
    >>> export_adwin(one) == export_adwin(twin)
    True
    """
    _, _, state = cast(Any, detector._helper.__reduce__())
    numbers = [float(value) for value in state[:_COUNTERS]]
    for bucket in state[_COUNTERS]["bucket_deque"]:
        used, _, totals, variances = bucket.__reduce__()[2]
        numbers += [float(used), *totals[:used].tolist(), *variances[:used].tolist()]
    return numbers


def import_adwin(numbers: Sequence[float], delta: float, grace: int) -> drift.ADWIN:
    """Return River's ADWIN from :func:`export_adwin`; the inverse of that function."""
    detector = new_adwin(delta, grace)
    helper: Any = detector._helper
    template = list(helper.__reduce__()[2])
    state = [type(a)(b) for a, b in zip(template[:_COUNTERS], numbers[:_COUNTERS], strict=True)]
    buckets, at = type(template[_COUNTERS]["bucket_deque"])(), _COUNTERS
    bucket_class = cast(Any, adwin_c.Bucket)
    make, arguments, (_, size, empty, _) = bucket_class(max_size=detector.max_buckets).__reduce__()
    while at < len(numbers):
        used = int(numbers[at])
        bucket = make(*arguments)
        totals, variances = empty.copy(), empty.copy()
        totals[:used] = numbers[at + 1 : at + 1 + used]
        variances[:used] = numbers[at + 1 + used : at + 1 + 2 * used]
        bucket.__setstate_cython__((used, size, totals, variances))
        buckets.append(bucket)
        at += 1 + 2 * used
    helper.__setstate_cython__((*state, {"bucket_deque": buckets}))
    return detector


def new_adwin(delta: float, grace: int) -> drift.ADWIN:
    """Return an ADWIN that tests after every value, from ``grace`` values on."""
    return drift.ADWIN(delta=delta, clock=1, grace_period=grace)
