"""FLOOR_CEILING and SURGE_BAN: bounds that catalog and law set."""

from __future__ import annotations

import math

from jobs.pricing.guardrails.base import Band, Case, Kind, money
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode
from schemas.money import ceil_minor, floor_minor


class FloorCeiling:
    """The catalog's minimum and maximum; without a maximum, a multiple of the list price.

    Both sides always: a check of one side only let a price run away on the other (2010), and two
    sellers who multiply each other's price are stopped by nothing else (2011: 23.7 million).
    """

    code = GuardrailCode.FLOOR_CEILING
    kind = Kind.HARD
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """The catalog's band; a blank or senseless end is not taken as zero but as absent."""
        low = ceil_minor(case.floor_minor or 0) if _amount(case.floor_minor) else None
        if _amount(case.ceiling_minor):
            high = floor_minor(case.ceiling_minor or 0)
            where = "catalog"
        elif _amount(case.list_minor):
            high = floor_minor((case.list_minor or 0) * policy.limits.ceiling_over_list)
            where = f"{policy.limits.ceiling_over_list:g} × list price"
        else:
            return None
        detail = f"floor {money(low, case.currency)}, ceiling {money(high, case.currency)} ({where})"
        return Band(self.code, self.kind, detail, low=low, high=high)


class SurgeBan:
    """A declared emergency: no increase in its zone while it lasts."""

    code = GuardrailCode.SURGE_BAN
    kind = Kind.HARD
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """At most the current price."""
        if case.surge_ban is None or case.current_minor is None:
            return None
        return Band(
            self.code, self.kind, f"emergency {case.surge_ban!r}: no increase", high=case.current_minor, alert=True
        )


def _amount(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0
