"""FLOOR_CEILING and SURGE_BAN: bounds that catalog and law set."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, money
from jobs.pricing.guardrails.inputs import is_usable_amount
from jobs.pricing.policy import Policy
from schemas.money import ceil_minor, floor_minor


class FloorCeiling(Guardrail):
    """The catalog's minimum and maximum; without a maximum, a multiple of the list price, else of the first price.

    Both ends: a check of one end alone let prices run away at the other (2010), and two sellers who multiply each
    other's price are stopped by nothing else (2011: 23.7 million). Only a first price without list price and
    maximum has the minimum alone.
    """

    code = "FLOOR_CEILING"
    kind = Kind.HARD
    title = "Floor and ceiling"
    meaning = "no price outside the catalog's floor and ceiling"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the catalog's band; an end that is missing or not above 0 counts as absent, not as zero."""
        product, currency, base_minor = context.inputs.product, context.inputs.currency, context.inputs.base_minor
        low = ceil_minor(product.floor_minor or 0) if is_usable_amount(product.floor_minor) else None
        if is_usable_amount(product.ceiling_minor):
            high = floor_minor(product.ceiling_minor or 0)
            where = "catalog"
        elif is_usable_amount(base_minor):
            high = floor_minor((base_minor or 0) * policy.limits.ceiling_over_list)
            where = (
                f"{policy.limits.ceiling_over_list:g} × {'first' if product.list_minor is None else 'list'} price"
            )
        elif low is not None:
            return Band(self.code, self.kind, f"floor {money(low, currency)}, no ceiling", low=low)
        else:
            return None
        detail = f"floor {money(low, currency)}, ceiling {money(high, currency)} ({where})"
        return Band(self.code, self.kind, detail, low=low, high=high)

    def text(self, limit: LimitRecord) -> str:
        """Name the prices and where the ceiling comes from."""
        if limit.band["high"] is None:
            return f"{limit.prices} (from the catalog)"
        own = is_usable_amount(limit.inputs.product.ceiling_minor)
        multiple = limit.policy.limits.ceiling_over_list
        base = "first" if limit.inputs.product.list_minor is None else "list"
        where = "from the catalog" if own else f"{multiple:g} times the {base} price at most"
        return f"{limit.prices} ({where})"


class SurgeBan(Guardrail):
    """A declared emergency: no increase in its zone while it lasts."""

    code = "SURGE_BAN"
    kind = Kind.HARD
    title = "Emergency"
    meaning = "no price increase while an emergency is declared"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices up to the current one."""
        ban, shown = context.inputs.controls.surge_ban, context.inputs.shown_minor
        if ban is None or shown is None:
            return None
        return Band(self.code, self.kind, f"emergency {ban!r}: no increase", high=shown, alert=True)

    def text(self, limit: LimitRecord) -> str:
        """Name the emergency."""
        return f"no increase during {limit.inputs.controls.surge_ban}: {limit.prices}"
