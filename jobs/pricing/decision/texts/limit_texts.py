"""Texts of the limits of a recorded decision.

A band's own ``detail`` is part of the record and is never reworded. The sentence for people is made by the
guardrail from the band's numbers, the decision's inputs and its policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.guardrails import GUARDRAIL_OF, Kind, LimitRecord, Pin, money
from jobs.pricing.watcher.signals import signal_text
from schemas.codes import OutcomeCode
from schemas.public_texts import CAUSES, OUTCOMES

_REASON = re.compile(
    r"(?P<cause>[A-Z_]+)(?: after (?P<after>[A-Z_]+))?(?: (?P<signal>[a-z_]+) ×(?P<effect>[0-9.e+-]+))?"
    r": (?P<outcome>[A-Z_]+)(?P<price>[^()]*)(?:\((?P<limits>[A-Z_, ]+)\))?"
)


def binds(band: Mapping[str, Any], candidate_minor: int | None) -> bool:
    """Return whether a band changed the decision: it holds the price, or the candidate lies outside of it."""
    low, high = band["low"], band["high"]
    outside = candidate_minor is not None and (
        (low is not None and candidate_minor < low) or (high is not None and candidate_minor > high)
    )
    holds = band["kind"] == Kind.HOLD or band["keeps"] not in (Pin.NOTHING, Pin.SHOWN_PRICES)
    return outside or holds or GUARDRAIL_OF[band["code"]].requests_approval


def bound_by(bands: Iterable[Mapping[str, Any]], candidate_minor: int | None) -> tuple[str, ...]:
    """Return the codes of the bands that changed a decision, sorted.

    Without a candidate and without a hold it is the hard bands, which have no common price.
    """
    bands = list(bands)
    binding = {band["code"] for band in bands if binds(band, candidate_minor)}
    if not binding and candidate_minor is None:
        binding = {band["code"] for band in bands if band["kind"] == Kind.HARD}
    return tuple(sorted(binding))


def limit_text(band: Mapping[str, Any], inputs: PricingInputs, candidate_minor: int | None) -> str:
    """Return one band of a decision as a sentence, with what to do where it holds the price.

    Parameters
    ----------
    band : one of ``decision["result"]["bands"]``.
    """
    guardrail = GUARDRAIL_OF[band["code"]]
    text = f"{guardrail.title}: {guardrail.text(LimitRecord(band, inputs, candidate_minor))}"
    advice = guardrail.advice if binds(band, candidate_minor) else ""
    return f"{text}; {advice}." if advice else f"{text}."


def shadow_text(shadow: Mapping[str, Any], currency: str) -> str:
    """Return one shadow of a decision as a sentence: its price, its gain, and the limits that changed it."""
    price, gain = shadow["price_minor"], shadow["gain_minor"]
    text = f"{shadow['strategy']} would set {'no price' if price is None else money(price, currency)}"
    if gain is not None:
        text += f", expected gain {money(gain, currency)} ± {money(shadow['gain_sd_minor'], currency)}"
    titles = [GUARDRAIL_OF[code].title.lower() for code in shadow["bound_by"]]
    return f"{text}; limited by: {', '.join(titles)}." if titles else f"{text}."


def reason_text(reason: str) -> str:
    """Return the text of the reason that a table or a decision carries; one of another form as it is.

    >>> reason_text("EVIDENCE velocity ×0.8: PUBLISHED 19.99 USD → 21.49 USD (STEP_LIMIT, APPROVAL)")
    'demand changed (orders ×0.8); limited by: step limit, approval'
    >>> reason_text("CONTINUED after RIVAL_MOVED: HELD 19.99 USD")
    "next step of an earlier change (a competitor's price or stock changed): the current price is kept"
    """
    found = _REASON.fullmatch(reason)
    if found is None or found["cause"] not in CAUSES or found["outcome"] not in OUTCOMES:
        return CAUSES.get(reason, reason)
    text = CAUSES[found["cause"]]
    if found["after"] in CAUSES:
        text += f" ({CAUSES[found['after']]})"
    if found["signal"]:
        text += f" ({signal_text(found['signal'], float(found['effect']))})"
    if found["outcome"] not in (OutcomeCode.PUBLISHED, OutcomeCode.COLD_START):
        text += f": {OUTCOMES[found['outcome']]}"
    if found["limits"]:
        titles = [GUARDRAIL_OF[code].title.lower() for code in found["limits"].split(", ") if code in GUARDRAIL_OF]
        text += f"; limited by: {', '.join(titles)}"
    return text
