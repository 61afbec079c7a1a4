"""FORWARD_BUYING: where shoppers stock up at a deal, prices fall slowly.

Units that shoppers stock up on at a deal are missing in the days that follow. The counts show it without a
model of stocks at home: orders at prices well below the usual one hold more units than orders at usual prices.

Data per listing: û, the log price that shoppers are used to (an exponential mean of what was shown, time
constant ``usual_days``); Y_d, U_d orders and units at prices below (1 − ``deal_depth``)·e^û as it was then;
Y_o, U_o those at all other prices. With m = U_o/Y_o units of a usual order, whose variance is at most about m,

    z = (U_d/Y_d − m) / √(m (1/Y_d + 1/Y_o))                                   (1)

and forward buying is believed from z ≥ ``least_z``. Then no new price of a table lies below
(1 − ``keep_within``)·e^û: prices still go down, as far as what shoppers are used to follows. Until
``least_orders`` were bought at deals this is not known, and only exploration shows deals: the chosen prices stay
above that line, explored ones need not.
"""

from __future__ import annotations

import math
from typing import ClassVar

from jobs.pricing.decision.inputs import DealCounts
from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, Pin, money
from jobs.pricing.policy import Policy
from jobs.pricing.policy_section import DEPLOYMENT, Field, Number, PolicySection, Share
from schemas.money import ceil_minor


class ForwardBuyingSettings(PolicySection):
    """The policy's section ``forward_buying``."""

    key: ClassVar[str] = "forward_buying"
    live: ClassVar[bool] = True

    usual_days: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=3.0,
        gt=0,
        description="time constant of the price that shoppers are used to",
    )
    deal_depth: Share = Field(
        json_schema_extra=DEPLOYMENT, default=0.05, gt=0, lt=1, description="a price so far below it is a deal"
    )
    least_z: Number = Field(
        default=3.0, gt=0, description="z above which deals are believed to sell more units per order"
    )
    least_orders: int = Field(
        default=5, ge=0, description="orders at deals before which only exploration may show a deal"
    )
    keep_within: Share = Field(
        default=0.04, gt=0, lt=1, description="then no price lies further below the usual price"
    )


def units_z(bought: DealCounts) -> float:
    """Return z of (1); 0 while there is nothing to compare.

    >>> round(units_z(DealCounts(5, 16, 100, 120)), 1), units_z(DealCounts(0, 0, 100, 120))
    (4.0, 0.0)
    """
    if bought.deal_orders <= 0 or bought.other_orders <= 0:
        return 0.0
    usual = max(bought.other_units / bought.other_orders, 1.0)
    spread = math.sqrt(usual * (1 / bought.deal_orders + 1 / bought.other_orders))
    return (bought.deal_units / bought.deal_orders - usual) / spread


def is_bought_ahead(
    price_minor: float, usual_minor: float | None, bought: DealCounts | None, policy: Policy
) -> bool:
    """Return whether a price is a deal, and deals are believed to be bought ahead.

    >>> [is_bought_ahead(price, 1000.0, DealCounts(5, 16, 100, 120), Policy()) for price in (949, 950)]
    [True, False]
    """
    settings = policy.section(ForwardBuyingSettings)
    if usual_minor is None or not bought or price_minor >= usual_minor * (1 - settings.deal_depth):
        return False
    return units_z(bought) >= settings.least_z


class ForwardBuying(Guardrail):
    """No price far below the usual one, where the counts show that deals are bought ahead."""

    code = "FORWARD_BUYING"
    kind = Kind.PACE
    title = "Forward buying"
    meaning = "what customers stock up on at a deal they do not buy later at the usual price"
    settings = ForwardBuyingSettings

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices from a little below the usual one upwards; an approved price may be lower."""
        settings, inputs, habits = policy.section(ForwardBuyingSettings), context.inputs, context.inputs.habits
        if habits.usual_minor is None or habits.bought is None or inputs.ignores_pace:
            return None
        bought = habits.bought
        unknown = bought.deal_orders < settings.least_orders
        if units_z(bought) < settings.least_z and not unknown:
            return None
        low = ceil_minor(habits.usual_minor * (1 - settings.keep_within))
        seen = (
            f"{bought.deal_orders} orders at deals so far, expected {settings.least_orders}"
            if unknown
            else f"{bought.deal_units / bought.deal_orders:.1f} units an order at deals, "
            f"{bought.other_units / bought.other_orders:.1f} otherwise"
        )
        used = money(round(habits.usual_minor), inputs.currency)
        detail = f"{seen}: at most {settings.keep_within:.0%} below the {used} that shoppers are used to"
        if inputs.controls.approved_minor is not None:
            low = min(low, inputs.controls.approved_minor)
        return Band(self.code, self.kind, detail, low=low, pin=Pin.CHOICE if unknown else Pin.TABLE_PRICES)

    def text(self, limit: LimitRecord) -> str:
        """Name the counts behind the limit."""
        bought, settings = limit.inputs.habits.bought or DealCounts(), limit.policy.section(ForwardBuyingSettings)
        used = limit.money(round(limit.inputs.habits.usual_minor or 0))
        line = f"{limit.prices}, {settings.keep_within:.0%} below the {used} that customers are used to"
        if bought.deal_orders < settings.least_orders:
            return (
                f"{bought.deal_orders} orders at deals so far, {settings.least_orders} are needed to know whether "
                f"customers stock up; until then only a few customers see less: {line}"
            )
        return (
            f"customers stock up at deals ({bought.deal_units / bought.deal_orders:.1f} units an order, otherwise "
            f"{bought.other_units / max(bought.other_orders, 1):.1f}) and buy less later: {line}"
        )
