"""Limits of a decision in words, from its record alone.

A band's own ``detail`` is part of the record and is recomputed to the letter, so it never changes; what people
read is made here from the band's numbers, the decision's inputs and its policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jobs.pricing.decision.record import rivals_of
from jobs.pricing.guardrails import Kind, money
from jobs.pricing.guardrails.forward_buying import Bought
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode
from schemas.money import EXPONENTS
from schemas.public_texts import LIMITS
from schemas.topics import MAX_PRICE_MINOR


class _Limit(NamedTuple):
    """What a text is made of."""

    band: Mapping[str, Any]
    inputs: Mapping[str, Any]
    candidate_minor: int | None
    policy: Policy

    def money(self, minor: float | None) -> str:
        return "unknown" if minor is None else money(minor, self.inputs["currency"])

    @property
    def prices(self) -> str:
        """The allowed prices."""
        low, high = self.band["low"], self.band["high"]
        if low is None:
            return f"at most {self.money(high)}"
        return f"at least {self.money(low)}" if high is None else f"{self.money(low)} to {self.money(high)}"


def binds(band: Mapping[str, Any], candidate_minor: int | None) -> bool:
    """Return whether a band changed what was published: it holds, or the best price lies outside of it."""
    low, high = band["low"], band["high"]
    outside = candidate_minor is not None and (
        (low is not None and candidate_minor < low) or (high is not None and candidate_minor > high)
    )
    holds = band["kind"] == Kind.HOLD or band["keeps"] != "nothing"
    return outside or holds or band["code"] == GuardrailCode.APPROVAL


def limit_text(band: Mapping[str, Any], decision: Mapping[str, Any], policy: Policy) -> str:
    """Return one band of a decision as a sentence, with what to do where it holds the price.

    Parameters
    ----------
    band : one of ``decision["result"]["bands"]``.
    policy : the one that the decision ran under.
    """
    inputs, candidate = decision["inputs"], decision["result"]["candidate_minor"]
    code = GuardrailCode(band["code"])
    said = _Limit(band, inputs, candidate, policy)
    words = LIMITS[code]
    make = _TEXTS.get(code)
    text = f"{words.name}: {make(said) if make else words.effect}"
    if make is None and (band["low"] is not None or band["high"] is not None):
        text += f", {said.prices}"
    return f"{text}; {words.advice}." if words.advice and binds(band, candidate) else f"{text}."


def time_text(epoch_ms: int | None) -> str:
    """Return an event time for people, to the minute.

    >>> time_text(0)
    '1970-01-01 00:00 UTC'
    """
    return (
        "later"
        if epoch_ms is None
        else datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    )


def _cost_missing(said: _Limit) -> str:
    cost = said.inputs["catalog"]["cost_minor"]
    return "the catalog gives no cost" if cost is None else f"the catalog's cost {said.money(cost)} is not above 0"


def _input_invalid(said: _Limit) -> str:
    catalog, margin = said.inputs["catalog"], said.policy.margin
    list_minor, cost, trusted = catalog["list_minor"], catalog["cost_minor"], catalog["trusted_cost_minor"]
    if list_minor is None or not math.isfinite(list_minor) or list_minor <= 0:
        return "the list price is missing or not above 0"
    if list_minor > MAX_PRICE_MINOR:
        return f"the list price {said.money(list_minor)} is above the largest price, {said.money(MAX_PRICE_MINOR)}"
    if said.inputs["currency"] not in EXPONENTS:
        return f"the currency {said.inputs['currency']} is not an ISO 4217 code"
    again = (
        "the same cost"
        if margin.cost_jump_scale == "share"
        else f"a cost within {margin.cost_tolerance:.0%} of it"
    )
    return (
        f"the cost changed from {said.money(trusted)} to {said.money(cost)} ({cost / trusted - 1:+.0%}), more "
        f"than is trusted at once; the price is held until {again} is sent {margin.confirm_after_minutes} minutes "
        "later or an operator approves the new cost"
    )


def _frozen(said: _Limit) -> str:
    return str(said.inputs["frozen"])


def _min_margin(said: _Limit) -> str:
    cost = said.money(said.inputs["catalog"]["cost_minor"])
    return f"a margin of {said.policy.margin.min_margin:.0%} on the cost of {cost} needs {said.prices}"


def _floor_ceiling(said: _Limit) -> str:
    ceiling = said.inputs["catalog"]["ceiling_minor"]
    own = ceiling is not None and math.isfinite(ceiling) and ceiling > 0
    where = "from the catalog" if own else f"{said.policy.limits.ceiling_over_list:g} times the list price at most"
    return f"{said.prices} ({where})"


def _surge_ban(said: _Limit) -> str:
    return f"no increase during {said.inputs['surge_ban']}: {said.prices}"


def _market_cap(said: _Limit) -> str:
    market, rivals = said.policy.market, rivals_of(said.inputs, said.policy, rivals_only=True)
    approved, mean = said.inputs["approved_minor"], rivals.mean_minor if rivals else None
    if approved is not None and said.band["high"] == approved:
        return f"replaced by an operator's approval of {said.money(approved)}"
    average = f"the rivals' average of {said.money(mean)}"
    if said.band["alert"]:
        return (
            f"the best price {said.money(said.candidate_minor)} is more than {market.cap_trigger_ratio:g} times "
            f"{average}, so {said.prices} ({market.cap_ratio:g} times); correct the rivals' offers, or approve a "
            "higher price"
        )
    return f"{said.prices}, {market.cap_trigger_ratio:g} times {average}"


def _stale_offers(said: _Limit) -> str:
    return f"their last average moves no price, and increases end there: {said.prices}"


def _step_limit(said: _Limit) -> str:
    return f"one change moves the price by at most {said.policy.limits.max_step:.0%}: {said.prices}"


def _approval(said: _Limit) -> str:
    return (
        f"the best price {said.money(said.candidate_minor)} is more than "
        f"{said.policy.limits.approval_over:.0%} away: one step now ({said.prices}), the rest after an approval "
        f"until {time_text(said.band['until_ms'])}"
    )


def _min_gap(said: _Limit) -> str:
    return (
        f"{said.policy.limits.min_gap_minutes} minutes between changes: the price stays until "
        f"{time_text(said.band['until_ms'])}"
    )


def _max_changes(said: _Limit) -> str:
    changes = said.inputs["current"]["changes_today"]
    return (
        f"{changes} changes today, at most {said.policy.limits.max_changes_per_day}: the price stays until "
        f"{time_text(said.band['until_ms'])}"
    )


def _forward_buying(said: _Limit) -> str:
    bought, limits = Bought(*said.inputs["bought"]), said.policy.forward_buying
    used = said.money(round(said.inputs["usual_minor"]))
    line = f"{said.prices}, {limits.keep_within:.0%} below the {used} that customers are used to"
    if bought.deal_orders < limits.least_orders:
        return (
            f"{bought.deal_orders} orders at deals so far, {limits.least_orders} are needed to know whether "
            f"customers stock up; until then only a few customers see less: {line}"
        )
    return (
        f"customers stock up at deals ({bought.deal_units / bought.deal_orders:.1f} units an order, otherwise "
        f"{bought.other_units / max(bought.other_orders, 1):.1f}) and buy less later: {line}"
    )


def _low_confidence(said: _Limit) -> str:
    least = said.policy.limits.min_confidence
    return f"the change raises the profit with a probability below {least:.0%}, so the main prices stay"


_TEXTS: Mapping[GuardrailCode, Callable[[_Limit], str]] = {
    GuardrailCode.COST_MISSING: _cost_missing,
    GuardrailCode.INPUT_INVALID: _input_invalid,
    GuardrailCode.FROZEN: _frozen,
    GuardrailCode.MIN_MARGIN: _min_margin,
    GuardrailCode.FLOOR_CEILING: _floor_ceiling,
    GuardrailCode.SURGE_BAN: _surge_ban,
    GuardrailCode.MARKET_CAP: _market_cap,
    GuardrailCode.STALE_OFFERS: _stale_offers,
    GuardrailCode.STEP_LIMIT: _step_limit,
    GuardrailCode.APPROVAL: _approval,
    GuardrailCode.MIN_GAP: _min_gap,
    GuardrailCode.MAX_CHANGES: _max_changes,
    GuardrailCode.FORWARD_BUYING: _forward_buying,
    GuardrailCode.LOW_CONFIDENCE: _low_confidence,
}
