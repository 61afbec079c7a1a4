"""Why a price is what it is: the price that stands and the newest decision about it, told to a person.

The decision tells its own story (:mod:`jobs.pricing.explain`); here it meets the table that is
served, since the newest decision may have published nothing. Used by ``walras explain`` and the console.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobs.pricing.explain import explain as story_of
from schemas.money import Money


def explain(listing: str, decision: Mapping[str, Any] | None, table: Mapping[str, Any] | None) -> dict[str, Any]:
    """An explanation as data: headline, the price now, the decision's story and record.

    Parameters
    ----------
    decision : newest decision about the listing, or None.
    table : newest `tables` record, or None.
    """
    said: dict[str, Any] = {"listing": listing, "headline": f"{listing}: nothing is known of this listing"}
    if table is not None:
        price = _money(table, "default_minor")
        said["headline"] = f"{listing} costs {price}: {table['reason'] or 'no reason given'}"
        said["price"] = {
            "default": price,
            "list": _money(table, "list_minor"),
            "rivals": _money(table, "offer_minor") if table.get("offer_minor") else None,
            "version": int(table["version"]),
            "table_id": table["table_id"],
            "published": when(int(table["published_ms"])),
            "expires": when(int(table["expires_ms"])),
            "decision_id": table["decision_id"],
        }
    said["decision"] = decision
    if decision is not None:
        said["story"] = story_of(decision)
        if table is not None and decision["decision_id"] != table["decision_id"]:
            said["note"] = (
                "this decision is newer than the price: it published none, or its table is still on its way"
            )
    return said


def text(explanation: Mapping[str, Any]) -> str:
    """An explanation as plain text.

    >>> print(text(explain("a/m/s", None, None)))
    a/m/s: nothing is known of this listing
    """
    lines = [explanation["headline"]]
    lines += [f"  {name:<10} {value}" for name, value in explanation.get("price", {}).items() if value is not None]
    if "story" in explanation:
        lines += ["", explanation["story"]]
    if "note" in explanation:
        lines += ["", explanation["note"]]
    return "\n".join(lines)


def when(epoch_ms: int) -> str:
    """An event time for people.

    >>> when(0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _money(table: Mapping[str, Any], field: str) -> str:
    return str(Money(int(table[field]), table["currency"]))
