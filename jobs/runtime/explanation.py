"""Why a price is what it is: a decision record told to a person.

The record holds all it was based on; this only chooses and words. Used by ``walras explain`` and by
the console. A field the record does not have is left out, never made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.codes import Cause, OutcomeCode
from schemas.money import EXPONENTS, Money

CAUSES: Mapping[str, str] = {
    Cause.EVIDENCE: "the evidence that demand differs from what the price was set for passed its threshold",
    Cause.GROUP_EVIDENCE: "evidence over the price group's listings together passed its threshold",
    Cause.RIVAL_MOVED: "a rival's price moved",
    Cause.STOCK_OUT: "the stock ran out",
    Cause.RESTOCKED: "stock came back",
    Cause.COST_CHANGED: "the catalog's cost or bounds changed",
    Cause.EVENT_STARTED: "a calendar event began",
    Cause.EVENT_ENDED: "a calendar event ended",
    Cause.COMMAND: "a person asked for it",
    Cause.SETTLE: "everything was optimized again by a settle command",
    Cause.COLD_START: "the listing had no price table yet",
    Cause.CONTINUED: "an earlier change was limited in pace and goes on",
    Cause.RENEWAL: "the table was near its end and was renewed with the same prices",
}
OUTCOMES: Mapping[str, str] = {
    OutcomeCode.PUBLISHED: "new prices were published",
    OutcomeCode.UNCHANGED: "the best prices are those that stand",
    OutcomeCode.HELD: "the price was held",
    OutcomeCode.HARD_OVER_PACE: "a hard limit forced the price past the pace limits",
    OutcomeCode.UNPRICEABLE: "the hard limits leave no price: the current one is held and people are called",
    OutcomeCode.NOT_MATERIAL: "the gain was too small to change a price for",
    OutcomeCode.TARGET_BELOW_DEMAND: "even the least-selling prices sell more than the target",
    OutcomeCode.COLD_START: "a first table was published",
    OutcomeCode.RENEWED: "the table was renewed",
}
MAX_ITEMS = 12
"""Longest list shown; the record itself has all of it."""


def explain(listing: str, decision: Mapping[str, Any] | None, table: Mapping[str, Any] | None) -> dict[str, Any]:
    """An explanation as data: headline, the price now, the decision with its grounds.

    Parameters
    ----------
    decision : newest decision about the listing, or None.
    table : newest `tables` record, or None.
    """
    said: dict[str, Any] = {"listing": listing, "headline": f"{listing}: nothing is known of this listing"}
    if table is not None:
        price = str(Money(int(table["default_minor"]), table["currency"]))
        said["headline"] = f"{listing} costs {price}: {table['reason'] or 'no reason given'}"
        said["price"] = {
            "default": price,
            "list": _money(int(table["list_minor"]), table["currency"]),
            "rivals": _money(int(table["offer_minor"]), table["currency"]) if table.get("offer_minor") else None,
            "version": int(table["version"]),
            "table_id": table["table_id"],
            "published": when(int(table["published_ms"])),
            "expires": when(int(table["expires_ms"])),
            "decision_id": table["decision_id"],
        }
    if decision is None:
        return said | {"decision": None}
    result = decision.get("result") or {}
    outcome = str(result.get("outcome") or ("PUBLISHED" if decision.get("published") else "HELD"))
    cause = str(decision["cause"])
    said["decision"] = {
        "decision_id": decision["decision_id"],
        "decided": when(int(decision["decided_at_ms"])),
        "cause": cause,
        "because": CAUSES.get(cause, cause.lower().replace("_", " ")),
        "cause_detail": decision.get("cause_detail") or {},
        "outcome": outcome,
        "which_means": OUTCOMES.get(outcome, outcome.lower().replace("_", " ")),
        "published": bool(decision.get("published")),
        "result": result,
        "inputs": decision.get("inputs") or {},
    }
    if table is not None and decision.get("decision_id") != table["decision_id"]:
        said["note"] = (
            "this decision is newer than the price: it published none (or its table is still on its way)"
        )
    return said


def text(explanation: Mapping[str, Any], *, inputs: bool = True) -> str:
    """An explanation as plain text.

    >>> print(text(explain("a/m/s", None, None)))
    a/m/s: nothing is known of this listing
    """
    lines = [explanation["headline"]]
    price = explanation.get("price")
    if price:
        lines += ["", "price", *_tree({k: v for k, v in price.items() if v is not None})]
    decision = explanation.get("decision")
    if decision:
        lines += [
            "",
            f"decision {decision['decision_id']}  {decision['decided']}",
            f"  why      {decision['cause']}: {decision['because']}",
            f"  outcome  {decision['outcome']}: {decision['which_means']}",
        ]
        if decision["cause_detail"]:
            lines += ["  what was seen", *_tree(decision["cause_detail"], 4)]
        lines += ["  what was decided", *_tree(decision["result"], 4)]
        if inputs:
            lines += ["  what it was based on", *_tree(decision["inputs"], 4)]
    if "note" in explanation:
        lines += ["", explanation["note"]]
    return "\n".join(lines)


def when(epoch_ms: int) -> str:
    """An event time for people.

    >>> when(0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _money(minor: int, currency: str) -> str | None:
    return str(Money(minor, currency)) if currency in EXPONENTS else None


def _tree(value: Mapping[str, Any], indent: int = 2) -> Iterator[str]:
    width = max((len(str(key)) for key in value), default=0)
    pad = " " * indent
    for key, item in value.items():
        if isinstance(item, Mapping) and item and not _flat(item):
            yield f"{pad}{key}"
            yield from _tree(item, indent + 2)
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            yield f"{pad}{key}"
            for each in item[:MAX_ITEMS]:
                yield f"{pad}  - {_word(each)}"
            if len(item) > MAX_ITEMS:
                yield f"{pad}  … {len(item) - MAX_ITEMS} more"
        else:
            yield f"{pad}{key:<{width}}  {_word(item)}"


def _flat(value: Mapping[str, Any]) -> bool:
    return len(value) <= 6 and not any(isinstance(item, Mapping | list) for item in value.values())


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_word(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        shown = ", ".join(_word(item) for item in value[:MAX_ITEMS])
        return f"[{shown}{', …' if len(value) > MAX_ITEMS else ''}]"
    return "none" if value is None else str(value)
