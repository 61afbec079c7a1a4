"""(g) State bytes per listing, summed over the jobs, and (i) cells learned a second by elasticity's first stage.

Both host the very logics of the jobs, with the adapter's own decoding and snapshot, in this process.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import orjson

from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling_logic import PoolingLogic
from features.feature_logic import FeatureLogic
from features.segments.customers import SegmentLogic
from infra.reports.benchmarks.minutes import MINUTE_MS, START_MS, batches
from jobs.hosting.host import Host, unpacked
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings, feature_settings

LISTINGS = 32
"""Of one bucket, as a deployment has them."""


def window_ends(days: int, minutes: int) -> list[int]:
    """Ends of the minutes taken: one an hour for the long windows, then every minute."""
    hours = [START_MS + h * 60 * MINUTE_MS for h in range(24 * days)]
    return hours + [hours[-1] + m * MINUTE_MS for m in range(1, minutes + 1)]


def state(*, days: int = 31, minutes: int = 240, listings: int = LISTINGS) -> dict[str, Any]:
    """Bytes per listing of what each logic keeps, after its longest window is full; also before it is packed."""
    policy = Policy()
    learning = elasticity_settings(policy)
    hosts = {
        "feature": Host(partial(FeatureLogic, feature_settings(policy)), None),
        "elasticity": Host(partial(ElasticityLogic, learning), None),
        "pooling": Host(partial(PoolingLogic, learning), None),
        "repricing": Host(partial(RepricingLogic, policy), None),
    }
    kept = dict.fromkeys(hosts, b"")
    most = dict.fromkeys(hosts, 0)

    def take(name: str, key: str, kind: str, address: str, payload: bytes | str) -> list[Any]:
        outputs, saved = hosts[name].process((key, kind, address, payload), lambda: None)
        kept[name] = saved or kept[name]
        most[name] = max(most[name], len(kept[name]))
        return outputs

    for payload in batches(listings, window_ends(days, minutes)):
        told = []
        for output in take("elasticity", "0", "batch", "", payload):
            if output.stream == "sums":
                told += take("pooling", output.key, "sums", "", orjson.dumps(output.value))
        for output in told:
            if output.stream == "estimates":
                for name in ("feature", "repricing"):
                    take(name, "0", "estimates", "", orjson.dumps(output.value))
        for name in ("feature", "repricing"):
            take(name, "0", "batch", "", payload)
    segments = Host(SegmentLogic, None)
    purchases = {"rows": [{"tenant": "bench", "customer": f"{n:032x}", "purchases": 3, "above_offer": 1,
                           "event_time_ms": START_MS} for n in range(1000)]}  # fmt: skip
    _, saved = segments.process(("0", "segments", "", orjson.dumps(purchases)), lambda: None)
    each = {name: len(data) / listings for name, data in kept.items()}
    return {
        "bytes_per_listing": sum(each.values()),
        **{f"{name}_bytes": round(size) for name, size in each.items()},
        "unpacked_bytes_per_listing": round(sum(len(unpacked(data)) for data in kept.values()) / listings),
        "most_bytes_per_listing": round(sum(size / listings for size in most.values())),
        "segment_bytes_per_thousand_customers": len(saved or b""),
        "days": days,
    }


def learned(*, minutes: int = 240, listings: int = LISTINGS) -> dict[str, float]:
    """Cells a second through stage 1: decoding, counting, learning at the hour's end, each batch's snapshot.

    The peer of the same run is decoding the same batches alone.
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
