"""FallbackChanges: request a repricing where the fallback chain stands at another stage than at the last decision.

A listing goes down when its estimate is refused or too old, and up when a usable one is back (FALLBACK_CHANGED).
Both are checked when an estimate arrives, and once an hour in the listing's own minute, because estimates and
rivals' offers become too old without a record.
"""

from __future__ import annotations

from dataclasses import replace

from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.input_collector import InputCollector
from jobs.pricing.bucket.listing.held_estimates import model_state
from jobs.pricing.bucket.requests import RepricingRequest, RepricingRequests
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policies import PolicyBook
from jobs.pricing.strategies import strategy_of
from jobs.pricing.strategies.fallback_rule import model_problem
from schemas.causes import Cause
from schemas.codes import Fallback


def stage_of(inputs: PricingInputs) -> tuple[str, ...]:
    """Return the stage of the chain and its reasons that a listing would use alone; empty without a fallback.

    It does not depend on what caused the decision, so that stages of two decisions can be compared.
    """
    controls = replace(inputs.controls, approved_minor=None)
    choice = strategy_of(replace(inputs, cause=Cause.FALLBACK_CHANGED, controls=controls))
    return (
        ()
        if choice.fallback is Fallback.NONE
        else (
            choice.fallback.value,
            *(reason.value for reason in choice.reasons),
        )
    )


class FallbackChanges:
    """Compares the listings' stages with those of their last decisions; keeps no state of its own.

    Parameters
    ----------
    policies : the business numbers, by scope.
    """

    def __init__(self, policies: PolicyBook, bucket: BucketState, collector: InputCollector) -> None:
        self._policies, self._bucket, self._collector = policies, bucket, collector

    def request(self, key: str, at_ms: int, requests: RepricingRequests) -> None:
        """Request a repricing of a listing with a table whose stage or reasons changed since its last decision.

        The inputs are collected only where a fallback is or was used.
        """
        entry, state = self._bucket.catalog.get(key), self._bucket.states.get(key)
        if entry is None or state is None or not (entry.active and state.has_table):
            return
        chain = self._policies.of(entry).fallback
        if not state.fallback and model_problem(model_state(state.estimate), at_ms, chain) is None:
            return
        asked = RepricingRequest(Cause.FALLBACK_CHANGED, {})
        now = stage_of(self._collector.collect(key, asked, at_ms, "0", None))
        if now != state.fallback:
            detail = {"fallback": list(now), "fallback_before": list(state.fallback)}
            requests.replace(key, Cause.FALLBACK_CHANGED, detail)
