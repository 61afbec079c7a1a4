"""MARKET_CAP and STALE_OFFERS: rivals' prices bound ours."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, money
from jobs.pricing.policy import Policy
from schemas.money import floor_minor


class MarketCap(Guardrail):
    """A candidate above twice the rivals' mean is capped at one and a half times that mean (001).

    The one hard band that depends on the candidate. An approval replaces it, and the decision records that.
    """

    code = "MARKET_CAP"
    kind = Kind.HARD
    needs_candidate = True
    title = "Market cap"
    meaning = "no price far above the rivals' average"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices up to the trigger (candidate below it) or up to the cap (candidate above it)."""
        mean, candidate, currency = context.rivals_mean_minor, context.candidate_minor, context.inputs.currency
        approved = context.inputs.controls.approved_minor
        if mean is None or candidate is None or not context.rivals_fresh:
            return None
        trigger = floor_minor(mean * policy.market.cap_trigger_ratio)
        if approved is not None and approved > trigger:
            detail = f"the market cap is replaced by an approval of {money(approved, currency)}"
            return Band(self.code, self.kind, detail, high=approved)
        if candidate > trigger:
            high = floor_minor(mean * policy.market.cap_ratio)
            detail = (
                f"candidate {money(candidate, currency)} is above "
                f"{policy.market.cap_trigger_ratio:g} × the rivals' mean {money(mean, currency)}: at most "
                f"{policy.market.cap_ratio:g} ×"
            )
            return Band(self.code, self.kind, detail, high=high, alert=True)
        detail = f"at most {policy.market.cap_trigger_ratio:g} × the rivals' mean {money(mean, currency)}"
        return Band(self.code, self.kind, detail, high=trigger)

    def text(self, limit: LimitRecord) -> str:
        """Name the rivals' average and the multiple that applies."""
        market, rivals = limit.policy.market, limit.inputs.reference(rivals_only=True)
        approved = limit.inputs.controls.approved_minor
        if approved is not None and limit.band["high"] == approved:
            return f"replaced by an operator's approval of {limit.money(approved)}"
        average = f"the rivals' average of {limit.money(rivals.mean_minor if rivals else None)}"
        if limit.band["alert"]:
            return (
                f"the best price {limit.money(limit.candidate_minor)} is more than "
                f"{market.cap_trigger_ratio:g} times {average}, so {limit.prices} ({market.cap_ratio:g} times); "
                "correct the rivals' offers, or approve a higher price"
            )
        return f"{limit.prices}, {market.cap_trigger_ratio:g} times {average}"


class StaleOffers(Guardrail):
    """Offers past their validity move no price, but their last mean still caps increases."""

    code = "STALE_OFFERS"
    kind = Kind.PACE
    title = "Rivals' prices out of date"
    meaning = "old prices of rivals move no price and only limit increases"
    advice = "check the feed of rivals' offers"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices up to the last mean, or up to the current price where that is higher already."""
        inputs, mean = context.inputs, context.rivals_mean_minor
        if context.rivals_fresh or mean is None or inputs.controls.approved_minor is not None:
            return None
        if inputs.cause.ignores_pace:
            return None
        high = max(floor_minor(mean), inputs.shown_minor or 0)
        detail = (
            f"the rivals' last mean {money(mean, inputs.currency)} is past its validity: it moves "
            "no price and caps increases"
        )
        return Band(self.code, self.kind, detail, high=high)

    def text(self, limit: LimitRecord) -> str:
        """Name the cap."""
        return f"their last average moves no price, and increases end there: {limit.prices}"
