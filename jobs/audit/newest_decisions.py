"""The newest decision of each listing: which came from the fallback chain, and which need an operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from jobs.connectors.kafka.reading import Record, read_newest_first
from jobs.pricing.decision.texts.limit_texts import reason_text
from schemas.codes import Fallback
from schemas.public_texts import FALLBACKS
from schemas.topics import TOPICS

CHUNKS_READ = 4
"""Chunks of the topic that are read from its end: up to 7,500 decisions of each partition."""


@dataclass(frozen=True, slots=True)
class FallbackUse:
    """Listings by the stage of the fallback chain that their newest decision used.

    Attributes
    ----------
    listings : listings whose newest decision was read.
    stages : stage → listings; stages that no listing uses are left out.
    """

    listings: int
    stages: Mapping[str, int]

    @property
    def line(self) -> str:
        """Return one line for ``walras status``.

        >>> FallbackUse(20, {"last_table": 2, "list_price": 1}).line
        '3 of 20 listings; the last price table: 2; the list price: 1'
        >>> FallbackUse(20, {}).line
        'none of 20 listings'
        """
        used = [f"{FALLBACKS[stage]}: {count}" for stage, count in self.stages.items()]
        return "; ".join([f"{sum(self.stages.values()) or 'none'} of {self.listings} listings", *used])


@dataclass(frozen=True, slots=True)
class WaitingDecision:
    """A decision that needs an operator.

    Attributes
    ----------
    decided_at_ms : run time of the decision, epoch ms.
    published : whether its price is in force; else the former price holds.
    why : its result and reason in words.
    price_minor : main price after the decision; None where the listing has none.
    best_minor : price that an approval publishes, or steps towards; None where there is nothing to approve.
    until_ms : end of the wait for an approval of the market cap or of a large change, epoch ms.
    """

    listing: str
    decision_id: str
    decided_at_ms: int
    published: bool
    why: str
    currency: str
    price_minor: int | None
    best_minor: int | None
    until_ms: int | None


def newest_decisions(bootstrap: str) -> dict[str, dict[str, Any]]:
    """Return the newest decision of each listing, by its key, from the end of the topic.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    """
    chunks = zip(range(CHUNKS_READ), read_newest_first(bootstrap, TOPICS["decisions"].topic), strict=False)
    return first_by_listing(chain.from_iterable(reversed(records) for _, records in chunks))


def first_by_listing(newest_first: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """Return the first record of each listing, decoded.

    >>> records = [Record("decisions", 0, n, 0, "acme/web/s1", b'{"version": %d}' % n) for n in (2, 1)]
    >>> first_by_listing(records)
    {'acme/web/s1': {'version': 2}}
    """
    newest: dict[str, dict[str, Any]] = {}
    for record in newest_first:
        if record.value and record.key is not None and record.key not in newest:
            newest[record.key] = record.json()
    return newest


def fallback_use(decisions: Mapping[str, Mapping[str, Any]]) -> FallbackUse:
    """Count listings by the stage of the fallback chain.

    >>> fallback_use({"acme/web/s1": {"result": {"fallback": "rule"}}, "acme/web/s2": {"result": {}}})
    FallbackUse(listings=2, stages={'rule': 1})
    """
    counts = Counter(each["result"].get("fallback") or Fallback.NONE for each in decisions.values())
    stages = {stage.value: counts[stage] for stage in Fallback if stage is not Fallback.NONE and counts[stage]}
    return FallbackUse(len(decisions), stages)


def waiting_decisions(
    decisions: Mapping[str, Mapping[str, Any]], now_ms: int, tenant: str = ""
) -> list[WaitingDecision]:
    """Return the decisions that need an operator, the oldest first.

    Parameters
    ----------
    decisions : newest decision of each listing, by its key.
    now_ms : run time; a decision whose wait for an approval has ended is left out.
    tenant : only this one's; "" for every tenant.

    >>> result = {"outcome": "UNPRICEABLE", "reason": "OFFER_CHANGED", "alert": True}
    >>> decision = {"tenant": "acme", "decision_id": "d1", "decided_at_ms": 0, "published": False}
    >>> newest = {"acme/web/s1": decision | {"inputs": {"currency": "USD"}, "result": result}}
    >>> [(each.listing, each.decision_id) for each in waiting_decisions(newest, now_ms=60_000)]
    [('acme/web/s1', 'd1')]
    """
    found = []
    for listing, decision in decisions.items():
        result = decision["result"]
        until_ms = result.get("approval_until_ms")
        needs = result.get("alert") or result.get("review")
        if not needs or tenant not in ("", decision["tenant"]) or (until_ms is not None and until_ms <= now_ms):
            continue
        price, best = result.get("default_minor"), result.get("candidate_minor")
        found.append(
            WaitingDecision(
                listing, decision["decision_id"], decision["decided_at_ms"], bool(decision["published"]),
                reason_text(result["reason"]), decision["inputs"]["currency"], price,
                None if best == price else best, until_ms,
            )
        )  # fmt: skip
    return sorted(found, key=lambda each: (each.decided_at_ms, each.listing))
