"""Ten times as many requests as one key may send: what the excess gets, and how the rest is served."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from infra.reports.edge_drill.failures import P99_MS, pause
from infra.reports.edge_drill.load import LoadGenerator, LoadPlan
from infra.reports.edge_drill.market import LISTINGS
from infra.reports.edge_drill.replies import statuses, timing
from infra.reports.edge_drill.servers import LIMIT_PER_SECOND, LIMITED, Servers
from infra.reports.report import Figure, Limit
from jobs.edge.admission.rate_limits import WINDOW_S

EXCESS = 10
"""Requests per second of the key above its limit, in multiples of the limit."""
OTHER_SHARE = 0.5
"""Requests per second of another key, as a share of the limit, which must not be refused."""
SECONDS, QUICK_SECONDS = 60.0, 10.0
SERVED = Limit(0.8, 1.05)
"""Served requests of the key above its limit, as a share of what its windows allow."""


def run_overload(servers: Servers, folder: Path, *, quick: bool) -> list[Figure]:
    """Send requests of two keys to an edge, one far above its limit, and return the figures."""
    above, below = (servers.issue_key(holder, LIMITED) for holder in ("above.limit", "below.limit"))
    plan = LoadPlan(
        servers.port(LIMITED),
        [(above, EXCESS * LIMIT_PER_SECOND), (below, OTHER_SHARE * LIMIT_PER_SECOND)],
        [listing.key for listing in LISTINGS],
    )
    with LoadGenerator(plan, folder / "overload.jsonl") as load:
        pause(QUICK_SECONDS if quick else SECONDS)
        load_average = round(os.getloadavg()[0], 1)
    replies = load.replies
    to_wall_s = time.time() - time.monotonic()
    asked = Counter(int((reply.sent_s + to_wall_s) // WINDOW_S) for reply in replies if reply.caller == 0)
    allowed = sum(min(sent, WINDOW_S * LIMIT_PER_SECOND) for sent in asked.values())
    excess = [reply for reply in replies if reply.status == 429]
    served = [reply for reply in replies if reply.status == 200]
    of_above = sum(reply.caller == 0 for reply in served)
    unhelpful = [reply for reply in excess if not reply.retry_after.isdigit() or int(reply.retry_after) < 1]
    failed = [reply for reply in replies if reply.status not in (200, 429)]
    times = timing(replies, lambda reply: reply.status == 200)
    above_limit, none = "ten times the rate limit", Limit(at_most=0)
    detail = {
        "limit_per_second": LIMIT_PER_SECOND, "sent_per_second": plan.rate, "statuses": statuses(replies),
        "load_average": load_average,
    }  # fmt: skip
    return [
        Figure("overload_failures", len(failed), "quotes", none,
               claim=f"{above_limit}: replies other than a quote or 429", detail=detail),
        Figure("overload_without_retry_after", len(unhelpful), "replies", none,
               claim=f"{above_limit}: 429 without Retry-After", detail={"refused": len(excess)}),
        Figure("overload_served", round(of_above / allowed, 3), "", SERVED,
               claim=f"{above_limit}: served, as a share of what its windows allow"),
        Figure("overload_other_key", sum(reply.caller == 1 for reply in excess), "quotes", none,
               claim=f"{above_limit}: refused quotes of another key"),
        Figure("overload_p99", times["p99_ms"], "ms", Limit(at_most=P99_MS),
               claim=f"{above_limit}: p99 of a quote", detail=times | {"load_average": load_average}),
    ]  # fmt: skip
