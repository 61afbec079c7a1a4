"""The page's tables about pricing rules and strategies, from the last decision of each listing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from jobs.audit.rules import RuleReport, Statistics, rule_report
from jobs.console.market_view import MarketView

EVERY_S = 10.0
"""Wall seconds for which a report is shown; it reads every decision that the view keeps."""


class RuleStatistics:
    """Reports about the view's decisions by tenant, each at most every :data:`EVERY_S`."""

    def __init__(self, view: MarketView) -> None:
        self._view = view
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}
        self._computing = asyncio.Lock()

    async def of(self, tenant: str) -> dict[str, Any]:
        """Return what :func:`rules_data` does for a tenant; "" for every tenant."""
        async with self._computing:
            found = self._known.get(tenant)
            if found is None or time.monotonic() - found[0] > EVERY_S:
                data = await asyncio.to_thread(self._compute, tenant)
                found = self._known[tenant] = (time.monotonic(), data)
        return found[1]

    def _compute(self, tenant: str) -> dict[str, Any]:
        return rules_data(rule_report(self._view.last_decisions(tenant), self._view.policies))


def rules_data(report: RuleReport) -> dict[str, Any]:
    """Return a report JSON-ready: rows of rules and of strategies with their statistics in words.

    >>> from jobs.pricing.policies import PolicyCatalog
    >>> rules_data(rule_report([], PolicyCatalog(), rules=["slow shoes"]))
    {'rules': [], 'strategies': [], 'never_matched': ['slow shoes'], 'conflicts': []}
    """
    return {
        "rules": [{"action": action.action} | _row(each) for action in report.actions for each in action.rules],
        "strategies": [_row(each) for each in report.strategies],
        "never_matched": list(report.never_matched),
        "conflicts": [
            {"rule": each.rule, "action": each.action, "to": each.to, "listings": each.listings}
            for each in report.conflicts
        ],
    }


def _row(found: Statistics) -> dict[str, Any]:
    return {"name": found.name, "listings": found.listings, "text": found.text}
