"""State per listing, summed over the jobs (g), and cells per second that stage 1 of elasticity_job learns (i).

Both run the logics of the jobs in this process, including the host's decoding and snapshots.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import orjson

from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling.pooling_logic import PoolingLogic
from features.feature_logic import FeatureLogic
from features.segments.customers import SegmentLogic
from infra.reports.inputs.cell_batches import MINUTE_MS, START_MS, batches
from jobs.hosting.host import Host, unpacked
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings, feature_settings

LISTINGS = 32
"""Listings of one bucket."""


def window_ends(days: int, minutes: int) -> list[int]:
    """Return the ends of the minutes that are fed: one per hour for the long windows, then every minute."""
    hours = [START_MS + h * 60 * MINUTE_MS for h in range(24 * days)]
    return hours + [hours[-1] + m * MINUTE_MS for m in range(1, minutes + 1)]


def state(*, days: int = 31, minutes: int = 240, listings: int = LISTINGS) -> dict[str, Any]:
    """Return the bytes of state per listing of each logic, compressed and not, with its longest window full."""
    policy = Policy()
    learning = elasticity_settings(policy)
    hosts = {
        "feature": Host(partial(FeatureLogic, feature_settings(policy)), None),
        "elasticity": Host(partial(ElasticityLogic, learning), None),
        "pooling": Host(partial(PoolingLogic, learning), None),
        "repricing": Host(partial(RepricingLogic, policy), None),
    }
    snapshots = dict.fromkeys(hosts, b"")
    largest = dict.fromkeys(hosts, 0)

    def take(name: str, key: str, kind: str, address: str, payload: bytes | str) -> list[Any]:
        outputs, saved = hosts[name].process((key, kind, address, payload), lambda: None)
        snapshots[name] = saved or snapshots[name]
        largest[name] = max(largest[name], len(snapshots[name]))
        return outputs

    for payload in batches(listings, window_ends(days, minutes)):
        estimates = []
        for output in take("elasticity", "0", "batch", "", payload):
            if output.stream == "sums":
                estimates += take("pooling", output.key, "sums", "", orjson.dumps(output.value))
        for output in estimates:
            if output.stream == "estimates":
                for name in ("feature", "repricing"):
                    take(name, "0", "estimates", "", orjson.dumps(output.value))
        for name in ("feature", "repricing"):
            take(name, "0", "batch", "", payload)
    segments = Host(SegmentLogic, None)
    purchases = {"rows": [{"tenant": "bench", "customer": f"{n:032x}", "purchases": 3, "above_offer": 1,
                           "event_time_ms": START_MS} for n in range(1000)]}  # fmt: skip
    _, saved = segments.process(("0", "segments", "", orjson.dumps(purchases)), lambda: None)
    each = {name: len(data) / listings for name, data in snapshots.items()}
    return {
        "bytes_per_listing": sum(each.values()),
        **{f"{name}_bytes": round(size) for name, size in each.items()},
        "unpacked_bytes_per_listing": round(sum(len(unpacked(data)) for data in snapshots.values()) / listings),
        "most_bytes_per_listing": round(sum(size / listings for size in largest.values())),
        "segment_bytes_per_thousand_customers": len(saved or b""),
        "days": days,
    }


def learned(*, minutes: int = 240, listings: int = LISTINGS) -> dict[str, float]:
    """Return the cells per second through stage 1: decoding, counting, learning at each hour, snapshots.

    The peer of the same run decodes the same batches.
    """
    payloads = list(batches(listings, [START_MS + m * MINUTE_MS for m in range(minutes)]))
    cells = sum(payload.count(b'"cell"') for payload in payloads)
    began = time.perf_counter()
    for payload in payloads:
        orjson.loads(payload)
    decoding = time.perf_counter() - began
    host = Host(partial(ElasticityLogic, elasticity_settings(Policy())), None)
    began = time.perf_counter()
    for payload in payloads:
        host.process(("0", "batch", "", payload), lambda: None)
    took = time.perf_counter() - began
    return {"cells_per_second": cells / took, "cells": cells, "decoded_per_second": cells / decoding}
