"""explain: the text of a decision, from its record alone.

For pricing managers at a terminal (``walras explain``) and in the console; shoppers see none of it. Texts of codes
are in :mod:`schemas.public_texts`; guardrails and command handlers carry their own.

The file exceeds 300 lines because it has one short function per line of the text, all of one record.
A reader who changes the text sees the whole of it in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from textwrap import fill
from typing import Any

from jobs.pricing.commands import HANDLER_OF
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.serialization import read_inputs
from jobs.pricing.decision.texts.limit_texts import binds, limit_text, shadow_text
from jobs.pricing.decision.texts.rule_texts import rule_texts
from jobs.pricing.decision.texts.times import time_text
from jobs.pricing.guardrails import GUARDRAIL_OF, Pin, money
from jobs.pricing.policy import Policy
from jobs.pricing.watcher.signals import signal_text
from schemas.causes import Cause
from schemas.codes import Fallback, FallbackReason, OutcomeCode
from schemas.events import OfferKind
from schemas.price_table import FULL
from schemas.public_texts import (
    ADVICE,
    CAUSES,
    FALLBACK_REASONS,
    FALLBACKS,
    INSUFFICIENT,
    OUTCOMES,
    ROLES,
)
from schemas.time_units import MINUTE_MS

WIDTH = 110
"""Columns that a line takes at most."""
_LABEL = 11
_INDENT = " " * (_LABEL + 2)
_NEXT_LINE = "\n" + _INDENT
_CATALOG = {
    "cost_minor": "cost", "list_minor": "list price", "floor_minor": "floor", "ceiling_minor": "ceiling",
    "active": "for sale", "trusted_cost_minor": "confirmed cost", "price_group": "price group",
    "tags": "tags", "role": "role", "category": "category", "pack_size": "pack size", "currency": "currency",
}  # fmt: skip
_SEGMENTS = {
    "all": "customers not yet known (all)",
    "myopic": "customers who rarely compare prices (myopic)",
    "strategic": "customers who compare prices (strategic)",
}
_TARGETS = {"sale_target": "the sale target", "stock": "the stock until the next delivery"}


def explain(decision: Mapping[str, Any], policies: Mapping[str, Policy]) -> str:
    """Return the text of a decision: result, cause, demand, cost, rivals, limits, prices, gain, what follows.

    Parameters
    ----------
    decision : a record of the `decisions` stream.
    policies : policies by hash (:class:`jobs.pricing.policies.PolicyCatalog`).

    Returns
    -------
    Lines of text without a trailing newline; no line is longer than :data:`WIDTH`. A limit that changed the
    result is marked with ``*``.
    """
    inputs, result = read_inputs(decision["inputs"], policies), decision["result"]
    lines = [
        f"{inputs.listing.key}: decision {decision['decision_id']} of {time_text(decision['event_time_ms'])}",
        _line("result", _result(inputs, result)),
        _line("cause", _cause(decision["cause"], decision["cause_detail"], inputs.currency)),
        _line("demand", _demand(inputs)),
        _line("customers", _customers(inputs)),
        _line("cost", _cost(inputs)),
        _line("rivals", _rivals(inputs, result)),
    ]
    if inputs.target.units is not None:
        lines.append(_line("to sell", _target(inputs, result)))
    if inputs.group is not None:
        lines.append(_line("group", _group(inputs, inputs.group)))
    if "rules" in result:
        lines.append(_line("rules", _NEXT_LINE.join(_sentence(each) for each in rule_texts(result, inputs))))
    if result.get("fallback"):
        lines.append(_line("fallback", _fallback(inputs, result)))
    lines.append(_line("best price", _best_price(inputs, result)))
    for number, band in enumerate(result["bands"]):
        mark = "*" if binds(band, result["candidate_minor"]) else "-"
        lines.append(
            _line("" if number else "limits", f"{mark} {limit_text(band, inputs, result['candidate_minor'])}")
        )
    lines.append(_line("prices", _prices(inputs, decision)))
    lines.append(_line("gain", _gain(inputs, result)))
    lines += [_line("shadow", shadow_text(each, inputs.currency)) for each in result.get("shadows", ())]
    lines += [_line("" if i else "next", text) for i, text in enumerate(_next(inputs, decision))]
    lines.append(_line("record", f"policy {inputs.policy.name}, {decision['inputs']['policy_hash']}"))
    # A command that is broken at the hyphens of a name could not be copied.
    wrapped = partial(fill, width=WIDTH, subsequent_indent=_INDENT, break_on_hyphens=False)
    return "\n".join(wrapped(each) for line in lines for each in line.split("\n"))


def _line(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def _result(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    text = _sentence(OUTCOMES[result["outcome"]])
    now, currency = result["default_minor"], inputs.currency
    if now is None:
        return text
    before = inputs.current.default_minor if inputs.current else None
    if before is None or before == now:
        return f"{text} Price: {money(now, currency)}."
    return f"{text} Price: {money(before, currency)} → {money(now, currency)} ({now / before - 1:+.1%})."


def _cause(cause: str, detail: Mapping[str, Any], currency: str) -> str:
    """Return what happened; a detail without a text is only in the record."""
    text = _detail_text(cause, detail, currency)
    return _sentence(f"{CAUSES[cause]}: {text}" if text else CAUSES[cause])


def _detail_text(cause: str, detail: Mapping[str, Any], currency: str) -> str:
    if template := Cause[cause].detail:
        return template.format_map(detail)
    match detail:
        case {"signal": signal, "effect": effect, "observed_orders": seen, "expected_orders": expected}:
            score = f", evidence score {detail['score']:.3f}" if "score" in detail else ""
            return f"{signal_text(signal, effect)}; {seen:,.0f} orders seen, {expected:,.1f} forecast{score}"
        case {"competitor": competitor, "price_minor": price, "before_minor": before, "in_stock": in_stock}:
            return _competitor(competitor, price, before, in_stock, detail.get("offer_kind"), currency)
        case {"requests": now, "before": before}:
            return f"{now:,.0f} price requests counted, {before:,.0f} at the last decision"
        case {"before": before, "now": now, "sd": sd}:
            return f"elasticity {now:.2f} ± {sd:.2f}, {before:.2f} at the last decision"
        case {"lowest_minor": lowest, "usual_minor": usual}:
            return (
                f"customers stock up at deals such as {money(lowest, currency)} instead of the usual "
                f"{money(usual, currency)}"
            )
        case {"range_low_minor": low, "range_high_minor": high, "confidence": confidence}:
            return (
                f"the last step outside the observed prices brought a gain (probability {confidence:.0%}); "
                f"prices from {money(low, currency)} to {money(high, currency)} now count as observed"
            )
        case {"fallback": now, "fallback_before": before}:
            return f"now {_stage(now)}, before {_stage(before)}"
        case {"planned_ms": _, "after": after}:
            return f"first cause: {CAUSES[after]}" if after in CAUSES else ""
        case {"policy": _, "scopes": scopes}:
            return "; ".join(scopes) or "the policy of the deployment applies again"
        case {"command": command, "operator": operator}:
            return _command(command, operator, detail)
        case _ if cause == Cause.COST_CHANGED or "currency" in detail:
            return "; ".join(
                f"{_CATALOG[name]} {_amount(name, old, currency)} → {_amount(name, new, currency)}"
                for name, (old, new) in sorted(detail.items())
                if name in _CATALOG
            )
    return ""


def _stage(recorded: list[str]) -> str:
    """Return the text of a stage of the fallback chain that is recorded with its reasons; empty: none was used."""
    return FALLBACKS[recorded[0] if recorded else Fallback.NONE]


def _competitor(name: str, price: int, before: int | None, in_stock: bool, kind: str | None, currency: str) -> str:
    what = f"reference price of {name}" if kind == OfferKind.REFERENCE else name
    stock = "" if in_stock else ", out of stock"
    then = "first seen" if before is None else f"{money(before, currency)} at its last repricing"
    return f"{what} at {money(price, currency)}{stock} ({then})"


def _command(command: str, operator: str, detail: Mapping[str, Any]) -> str:
    handler = HANDLER_OF.get(command)
    text = f"{operator} {handler.text if handler else 'gave a command'}"
    if detail.get("units") is not None:
        text += f" of {detail['units']:,} units"
    if detail.get("decision_id"):
        text += f" of decision {detail['decision_id']}"
    return f"{text} ({detail['reason']})" if detail.get("reason") else text


def _amount(name: str, value: Any, currency: str) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return ROLES.get(value, value) if name == "role" else value
    return money(value, currency) if name.endswith("_minor") else f"{value:,}"


def _demand(inputs: PricingInputs) -> str:
    eps = inputs.beliefs.elasticity
    return (
        f"About {inputs.beliefs.requests:,.0f} price requests {_per_period(inputs)}. A price 1% higher sells "
        f"about {-eps.mean:.2f}% fewer units (elasticity {eps.mean:.2f} ± {eps.sd:.2f})."
    )


def _customers(inputs: PricingInputs) -> str:
    """Return each segment's share, elasticity (the listing's where the record has no other) and counts."""
    lines = []
    for name, segment in sorted(inputs.beliefs.segments.items()):
        counted = sum(segment.counts.exposures.tolist())
        behind = f"{counted:,.0f} requests counted" if counted >= 1 else "none counted yet"
        mean = (segment.elasticity or inputs.beliefs.elasticity).mean
        share = "less than 1%" if segment.share < 0.01 else f"{segment.share:.0%}"
        lines.append(f"{_SEGMENTS.get(name, name)}: {share} of requests, elasticity {mean:.2f}, {behind}")
    return _NEXT_LINE.join(lines)


def _cost(inputs: PricingInputs) -> str:
    cost, trusted = inputs.product.cost_minor, inputs.product.trusted_cost_minor
    if cost is None:
        return "Not known."
    text = f"{money(cost, inputs.currency)} a unit."
    if trusted is not None and trusted != cost:
        text += f" The last cost that was trusted is {money(trusted, inputs.currency)}."
    return text


def _rivals(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    currency = inputs.currency
    rivals, every = inputs.reference(rivals_only=True), inputs.reference()
    if rivals is None:
        text = "No rival in stock is known."
    else:
        how_many = "1 rival" if rivals.rivals == 1 else f"{rivals.rivals} rivals"
        old = "" if rivals.fresh else ", out of date"
        text = f"{how_many} at {money(rivals.mean_minor, currency)} on average{old}."
    references = [offer for offer in inputs.offers if not offer.bounds_prices]
    if references and every is not None:
        text += (
            f" Demand answers to a reference price of {money(every.mean_minor, currency)}, with offers of "
            f"{', '.join(offer.competitor for offer in references)}, which bound no price."
        )
    if result["follow_minor"] is not None:
        role = inputs.product.role or ""
        ratio = inputs.policy.roles.follow_ratio(role)
        text += (
            f" As a {ROLES.get(role, role)} the listing costs at most {ratio:.0%} of that average: "
            f"{money(result['follow_minor'], currency)}."
        )
    return text


def _target(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    source = _TARGETS.get(inputs.target.source or "", "a target")
    text = f"At most {inputs.target.units:,.1f} units {_per_period(inputs)} ({source})."
    if result["multiplier"]:
        text += f" One more unit to sell would be worth {money(result['multiplier'], inputs.currency)}."
    return text


def _group(inputs: PricingInputs, terms: GroupTerms) -> str:
    """Return who shares the listing's price, and what the group's decision rests on."""
    currency = inputs.currency
    others, about = len(terms.members) - 1, terms.requested_by
    lines = [f"Has one price with {others} other listing{'' if others == 1 else 's'}; the decision was about "
             f"{'this one' if about == inputs.listing.key else about}."]  # fmt: skip
    for member in terms.members:
        if member.listing == inputs.listing.key:
            continue
        ends = "no upper limit" if member.high is None else money(member.high, currency)
        text = f"{member.listing}: hard limits {money(member.low, currency)} to {ends}"
        if member.held is not None:
            text += f"; held: {member.held}"
        if member.joins:
            text += "; takes the group's prices at once"
        if member.below_demand:
            text += "; sells more than its target at every price"
        elif member.multiplier > 0:
            text += f"; one more unit of it is worth {money(member.multiplier, currency)}"
        if member.below_minimum:
            text += "; its minimum sales are out of reach"
        lines.append(text)
    for strategy, role, listing in terms.forbidden:
        whose = f"the role of {listing} ({ROLES.get(role, role) or 'none'})"
        lines.append(f"The group does not use {strategy.replace('_', ' ')}, which {whose} does not allow.")
    if terms.gain_minor is not None and terms.gain_sd_minor is not None:
        gain, sd = money(terms.gain_minor, currency), money(terms.gain_sd_minor, currency)
        lines.append(
            f"Expected gain of the group's best price over the present one: {gain} ± {sd} {_per_period(inputs)}."
        )
    return _NEXT_LINE.join(lines)


def _fallback(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    """Return what replaces the policy's strategy, and which inputs could not be used."""
    reasons = [FALLBACK_REASONS[reason] for reason in result["fallback_reasons"]]
    text = f"In place of the policy's strategy {FALLBACKS[result['fallback']]}: {'; '.join(reasons)}"
    if inputs.model is not None and FallbackReason.NOT_IDENTIFIED in result["fallback_reasons"]:
        refused = INSUFFICIENT.get(inputs.model.refused)
        text += f" ({refused})" if refused else ""
    return f"{text}."


def _best_price(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    if result["candidate_minor"] is None:
        return "Not computed, because the price is held."
    text = money(result["candidate_minor"], inputs.currency)
    if inputs.controls.approved_minor is not None:
        return f"{text}, set or approved by an operator."
    return f"{text}, before limits on the size and the number of changes."


def _prices(inputs: PricingInputs, decision: Mapping[str, Any]) -> str:
    result, currency = decision["result"], inputs.currency
    if not decision["published"] or result["table"] is None:
        stands = (
            ""
            if result["default_minor"] is None
            else f" Customers still see {money(result['default_minor'], currency)}."
        )
        return f"Nothing was published.{stands}"
    lists = []
    for segment, of_segment in sorted(result["table"].items()):
        below, shown = -1, []
        for price, cumulative in zip(of_segment["p"], of_segment["c"], strict=True):
            share = (cumulative - below) / (FULL + 1)
            shown.append(f"{money(price, currency).split()[0]} ({share:.0%})")
            below = cumulative
        lists.append(f"{_SEGMENTS.get(segment, segment)}: {', '.join(shown)}")
    if result["multiplier"]:
        lists.append("Not all that is requested can be sold: prices rise first where that loses the least profit.")
    table = f"version {decision['version']}, table {decision['table_id']}"
    head = f"Published ({table}), each price with its share of customers:"
    return _NEXT_LINE.join([head, *lists])


def _gain(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    if inputs.current is None:
        return "Not known: there was no price table to compare with."
    if result["confidence"] is None:
        return "Not computed: the decision moves no price."
    gain, sd = (money(result[name], inputs.currency) for name in ("gain_minor", "gain_sd_minor"))
    text = f"{gain} ± {sd} {_per_period(inputs)}; it is positive with a probability of {result['confidence']:.0%}."
    if result.get("fallback") == Fallback.RULE:
        text += " It is expected by the demand model, which the price does not follow."
    return text


def _per_period(inputs: PricingInputs) -> str:
    days = inputs.policy.objective.period_minutes / 1440
    return "a day" if days == 1 else f"in {days:.3g} days"


def _next(inputs: PricingInputs, decision: Mapping[str, Any]) -> list[str]:
    """Return what follows, and what an operator can do."""
    result, follows = decision["result"], []
    if advice := ADVICE.get(result["outcome"]):
        follows.append(_sentence(advice))
    if result["alert"]:
        follows.append("This decision needs an operator; no notification is sent.")
    marks = (b for b in result["bands"] if GUARDRAIL_OF[b["code"]].requests_review and b["keeps"] == Pin.NOTHING)
    if result["review"] and any(marks):
        follows.append("Published with low confidence: check it.")
    if effect := _effect_of_approval(inputs, result):
        until_ms = inputs.at_ms + inputs.policy.limits.approval_minutes * MINUTE_MS
        follows.append(
            f"Until {time_text(until_ms)} "
            f"`walras approve {inputs.listing.key} {decision['decision_id']}` {effect}."
        )
    if result["continue_at_ms"] is not None:
        minutes = (result["continue_at_ms"] - inputs.at_ms) / MINUTE_MS
        follows.append(f"The listing is decided again in {minutes:.0f} minutes: its limits may allow more then.")
    return follows


def _effect_of_approval(inputs: PricingInputs, result: Mapping[str, Any]) -> str:
    """Return what an approval of the decision does; empty if none is awaited (``Decider`` keeps what is)."""
    cost, trusted = inputs.product.cost_minor, inputs.product.trusted_cost_minor
    questioned = any(GUARDRAIL_OF[band["code"]].questions_cost for band in result["bands"])
    if questioned and cost is not None and trusted is not None and cost != trusted:
        return f"accepts the cost {money(cost, inputs.currency)}"
    if result["outcome"] == OutcomeCode.UNPRICEABLE or not (result["review"] or result["alert"]):
        return ""
    candidate = result["candidate_minor"]
    if candidate in (None, result["default_minor"]):
        return ""
    return f"lets the price go to {money(candidate, inputs.currency)}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
