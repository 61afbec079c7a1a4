"""FORWARD_BUYING: where shoppers stock up at a deal, prices go down slowly.

What a deal sells to a pantry is borrowed from the days that follow. It shows in the counts, without a model of
pantries: orders at prices well below what shoppers are used to hold more units than orders at usual prices.

Data per listing: û, the log price that shoppers are used to (an exponential mean of what was shown, time
constant ``usual_days``); Y_d, U_d orders and units at prices below (1 − ``deal_depth``)·e^û as it was then;
Y_o, U_o those at all other prices. With m = U_o/Y_o units of a usual order, whose variance is at most about m,

    z = (U_d/Y_d − m) / √(m (1/Y_d + 1/Y_o))                                   (1)

and forward buying is believed from z ≥ ``least_z``. Then no new price of a table lies below
(1 − ``keep_within``)·e^û: prices still go down, as far as what shoppers are used to follows. Until
``least_orders`` were bought at deals nobody knows, and a deal is first shown to few: the chosen prices stay
above that line, explored ones need not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from jobs.pricing.guardrails.base import Band, Case, Keeps, Kind, money
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode
from schemas.money import ceil_minor


class Bought(NamedTuple):
    """Orders and units at deals, and at all other prices."""

    deal_orders: int = 0
    deal_units: int = 0
    other_orders: int = 0
    other_units: int = 0

    @property
    def z(self) -> float:
        """(1); 0 while there is nothing to compare.

        >>> round(Bought(5, 16, 100, 120).z, 1), Bought(0, 0, 100, 120).z
        (4.0, 0.0)
        """
        if self.deal_orders <= 0 or self.other_orders <= 0:
            return 0.0
        usual = max(self.other_units / self.other_orders, 1.0)
        spread = math.sqrt(usual * (1 / self.deal_orders + 1 / self.other_orders))
        return (self.deal_units / self.deal_orders - usual) / spread


def is_bought_ahead(
    price_minor: float, usual_minor: float | None, bought: Sequence[int] | None, policy: Policy
) -> bool:
    """Whether a price is a deal, and deals are believed to be bought ahead.

    >>> [is_bought_ahead(price, 1000.0, (5, 16, 100, 120), Policy()) for price in (949, 950)]
    [True, False]
    """
    limits = policy.forward_buying
    if usual_minor is None or not bought or price_minor >= usual_minor * (1 - limits.deal_depth):
        return False
    return Bought(*bought).z >= limits.least_z


class ForwardBuying:
    """No price far below what shoppers are used to, where deals are seen to be bought ahead."""

    code = GuardrailCode.FORWARD_BUYING
    kind = Kind.PACE
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """From a little below the usual price upwards; an approved price may go lower."""
        limits = policy.forward_buying
        if case.usual_minor is None or case.bought is None or case.ignores_pace:
            return None
        bought = Bought(*case.bought)
        unknown = bought.deal_orders < limits.least_orders
        if bought.z < limits.least_z and not unknown:
            return None
        low = ceil_minor(case.usual_minor * (1 - limits.keep_within))
        seen = (
            f"{bought.deal_orders} orders at deals so far, expected {limits.least_orders}"
            if unknown
            else f"{bought.deal_units / bought.deal_orders:.1f} units an order at deals, "
            f"{bought.other_units / bought.other_orders:.1f} otherwise"
        )
        used = money(round(case.usual_minor), case.currency)
        detail = f"{seen}: at most {limits.keep_within:.0%} below the {used} that shoppers are used to"
        if case.approved_minor is not None:
            low = min(low, case.approved_minor)
        return Band(self.code, self.kind, detail, low=low, keeps=Keeps.CHOICE if unknown else Keeps.TABLE_PRICES)
