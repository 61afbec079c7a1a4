"""MARKET_CAP and STALE_OFFERS: what rivals charge bounds what we may ask."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Case, Kind, money
from jobs.pricing.policy import Policy
from schemas.codes import Cause, GuardrailCode
from schemas.money import floor_minor


class MarketCap:
    """A candidate above twice the rivals' mean is capped at one and a half times that mean (001).

    The one hard band that depends on the candidate, so it is met last. An approval replaces it, and
    the decision says so.
    """

    code = GuardrailCode.MARKET_CAP
    kind = Kind.HARD
    needs_candidate = True

    def band(self, case: Case, policy: Policy) -> Band | None:
        """At most the trigger (candidate below it) or the cap (candidate above it)."""
        mean = case.rivals_mean_minor
        if mean is None or case.candidate_minor is None or not case.rivals_fresh:
            return None
        trigger = floor_minor(mean * policy.market.cap_trigger_ratio)
        if case.approved_minor is not None and case.approved_minor > trigger:
            detail = f"the market cap is replaced by an approval of {money(case.approved_minor, case.currency)}"
            return Band(self.code, self.kind, detail, high=case.approved_minor)
        if case.candidate_minor > trigger:
            high = floor_minor(mean * policy.market.cap_ratio)
            detail = (
                f"candidate {money(case.candidate_minor, case.currency)} is above "
                f"{policy.market.cap_trigger_ratio:g} × the rivals' mean {money(mean, case.currency)}: at most "
                f"{policy.market.cap_ratio:g} ×"
            )
            return Band(self.code, self.kind, detail, high=high, alert=True)
        detail = f"at most {policy.market.cap_trigger_ratio:g} × the rivals' mean {money(mean, case.currency)}"
        return Band(self.code, self.kind, detail, high=trigger)


class StaleOffers:
    """Rivals' data past their validity move no price, but their last mean stays a cap on increases."""

    code = GuardrailCode.STALE_OFFERS
    kind = Kind.PACE
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """At most the last mean, or the current price where that is higher already."""
        if case.rivals_fresh or case.rivals_mean_minor is None or case.approved_minor is not None:
            return None
        if case.cause is Cause.SETTLE:
            return None
        high = max(floor_minor(case.rivals_mean_minor), case.current_minor or 0)
        detail = (
            f"the rivals' last mean {money(case.rivals_mean_minor, case.currency)} is past its validity: it moves "
            "no price and caps increases"
        )
        return Band(self.code, self.kind, detail, high=high)
