"""Explanation of a listing's price: the served price, what is learned, and the newest decision.

The newest decision may have published no table, so the served table is shown beside it. ``walras explain`` and the
console use it; :mod:`jobs.pricing.decision.texts.explain` explains a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from features.registry import EVENT_TIMESTAMP, FEATURES
from jobs.pricing.decision.texts.explain import explain as explain_decision
from jobs.pricing.decision.texts.limit_texts import reason_text
from jobs.pricing.policy import Policy
from schemas.codes import InsufficientReason
from schemas.money import Money
from schemas.public_texts import INSUFFICIENT, SUFFICIENCY, WARNINGS

_PUBLIC = {spec.name: spec.public for spec in FEATURES}
_LABELS = {
    "default": "price", "list": "list price", "rivals": "reference", "version": "version", "table_id": "table",
    "published": "published", "expires": "expires", "decision_id": "decision",
}  # fmt: skip
"""Labels of the price's fields in the text."""
_LEARNED = (
    ("sale probability at this price", "conversion_at_price_state", "conversion_at_price_missing"),
    ("share of myopic shoppers", "segment_share_state", "segment_share_missing"),
    ("elasticity", "own_price_elasticity_state", None),
)
"""Estimates of a listing, with the features that hold their state and how many requests are missing."""


def explain_price(
    listing: str,
    decision: Mapping[str, Any] | None,
    table: Mapping[str, Any] | None,
    learned: Mapping[str, Any] | None = None,
    policies: Mapping[str, Policy] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the explanation of a price as data: headline, price, estimates, the decision's story and record.

    Parameters
    ----------
    listing : the listing's key.
    decision : newest decision about the listing, or None.
    table : newest `tables` record, or None.
    learned : :func:`learned_state` of the newest `features` record, or None.
    policies : policies by hash; not needed where the decision embeds its policy.
    """
    explanation: dict[str, Any] = {"listing": listing, "headline": f"{listing}: no price and no decision is known"}
    if table is not None:
        price = _money(table, "default_minor")
        explanation["headline"] = (
            f"{listing} costs {price}: {reason_text(table['reason']) or 'no reason recorded'}"
        )
        explanation["price"] = {
            "default": price,
            "list": _money(table, "list_minor"),
            "rivals": _money(table, "offer_minor") if table.get("offer_minor") else None,
            "version": int(table["version"]),
            "table_id": table["table_id"],
            "published": format_time(int(table["published_ms"])),
            "expires": format_time(int(table["expires_ms"])),
            "decision_id": table["decision_id"],
        }
    if learned is not None:
        explanation["learned"] = learned
    explanation["decision"] = decision
    if decision is not None:
        explanation["story"] = explain_decision(decision, policies)
        if table is not None and decision["decision_id"] != table["decision_id"]:
            explanation["note"] = (
                "This decision is newer than the price above: it published none, or its prices are not served yet."
            )
    return explanation


def explanation_text(explanation: Mapping[str, Any]) -> str:
    """Return an explanation as plain text.

    >>> print(explanation_text(explain_price("a/m/s", None, None)))
    a/m/s: no price and no decision is known
    """
    lines = [explanation["headline"]]
    price = explanation.get("price", {})
    lines += [f"  {label:<10} {price[name]}" for name, label in _LABELS.items() if price.get(name) is not None]
    if "learned" in explanation:
        lines += [f"  {'learned':<10} {each}" for each in _sufficiency(explanation["learned"])]
    if "story" in explanation:
        lines += ["", explanation["story"]]
    if "note" in explanation:
        lines += ["", explanation["note"]]
    return "\n".join(lines)


def learned_state(features: Mapping[str, Any], estimate: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return how far the estimates of a listing can be trusted, from its newest records.

    Parameters
    ----------
    features : its `features` record.
    estimate : its `estimates` record of the elasticity, with the reason of its state and a warning, or None.
    """
    learned: dict[str, Any] = {"at": format_time(int(features[EVENT_TIMESTAMP]))}
    for what, state, missing in _LEARNED:
        learned[what] = {"state": features[_PUBLIC[state]]}
        if missing is not None:
            learned[what]["missing"] = int(features[_PUBLIC[missing]])
    if estimate is not None:
        # Features contain an estimate some minutes later, so that both state and reason are the record's.
        learned["elasticity"] = {
            "state": estimate["sufficient"],
            "reason": estimate.get("reason", ""),
            "warning": estimate.get("warning", ""),
        }
    return learned


def _sufficiency(learned: Mapping[str, Any]) -> list[str]:
    lines = []
    for what, _, _ in _LEARNED:
        missing = learned[what].get("missing", 0)
        more = f"; {missing:,} more price requests make it sufficient" if missing else ""
        reason, warning = learned[what].get("reason"), learned[what].get("warning")
        why = f" ({INSUFFICIENT[reason]})" if reason not in (None, "", InsufficientReason.NO_DATA) else ""
        lines.append(f"{what}: {SUFFICIENCY[learned[what]['state']]}{why}{more}")
        if warning:
            lines.append(f"{what}: warning: {WARNINGS[warning]}")
    return lines


def format_time(epoch_ms: int) -> str:
    """Return an event time as text.

    >>> format_time(0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _money(table: Mapping[str, Any], field: str) -> str:
    return str(Money(int(table[field]), table["currency"]))
