"""explain: why a price is what it is, in words, from a decision's record alone.

For people at a terminal (``walras explain``) and in the console; public replies carry none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from textwrap import fill
from typing import Any

from jobs.pricing.guardrails import money
from schemas.codes import Cause, GuardrailCode, OutcomeCode
from schemas.price_table import FULL

_OUTCOMES = {
    OutcomeCode.PUBLISHED: "a new table was published",
    OutcomeCode.UNCHANGED: "the best table is the one that stands",
    OutcomeCode.HELD: "the price was held",
    OutcomeCode.HARD_OVER_PACE: "a hard limit forced the nearest legal price at once, over the pace limits",
    OutcomeCode.UNPRICEABLE: "no legal price exists, or the one held is not legal: people are called",
    OutcomeCode.NOT_MATERIAL: "a change would not pay for itself",
    OutcomeCode.TARGET_BELOW_DEMAND: "even the dearest allowed prices sell more than there is: published those",
    OutcomeCode.COLD_START: "the first table, by rule: cost plus margin, met with the rivals",
    OutcomeCode.RENEWED: "the same table, for longer",
}
_WHY = {GuardrailCode.FORWARD_BUYING: "what is stocked up on at a deal is not bought later at the usual price"}
"""Why a guardrail holds a price, where the limit's own words say only how far."""
WIDTH = 110
"""Columns that a line takes at most."""
_INDENT = " " * 13
_NEXT_LINE = "\n" + _INDENT


def explain(decision: Mapping[str, Any]) -> str:
    """A decision's story: cause, evidence, beliefs, segments, candidate, bands, what was published, expected gain.

    Parameters
    ----------
    decision : a record of the `decisions` stream.

    Returns
    -------
    Lines of text without a trailing newline; no line is longer than :data:`WIDTH`.
    """
    inputs, result = decision["inputs"], decision["result"]
    currency = inputs["currency"]
    when = datetime.fromtimestamp(decision["event_time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    lines = [
        f"{inputs['listing']}  decision {decision['decision_id']}  {when} UTC",
        f"  outcome    {result['outcome']}: {_OUTCOMES[OutcomeCode(result['outcome'])]}",
        f"  cause      {decision['cause']}{_cause(decision['cause'], decision['cause_detail'], currency)}",
        f"  believed   {_beliefs(inputs, result)}",
        f"  segments   {_segments(inputs)}",
        f"  candidate  {_candidate(inputs, result)}",
    ]
    for band in result["bands"]:
        lines.append(f"  {'limits' if band is result['bands'][0] else '':<11}{_band(band, result, currency)}")
    lines.append(f"  published  {_published(decision)}")
    lines.append(f"  gain       {_gain(inputs, result)}")
    for what in _follows(inputs, result):
        lines.append(f"  follows    {what}")
    lines.append(
        f"  policy     {inputs['policy']['name']} {inputs['policy_hash']}; recompute: inputs v{inputs['v']}"
    )
    return "\n".join(fill(each, WIDTH, subsequent_indent=_INDENT) for line in lines for each in line.split("\n"))


def _cause(cause: str, detail: Mapping[str, Any], currency: str) -> str:
    """What happened, in words; a detail that has none yet is listed name by name."""
    told = _told(cause, detail, currency)
    if told is None:
        told = ", ".join(f"{name} {value}" for name, value in sorted(detail.items()) if value is not None)
    return f": {told}" if told else ""


def _told(cause: str, detail: Mapping[str, Any], currency: str) -> str | None:
    match detail:
        case {"signal": signal, "effect": effect}:
            return (
                f"{signal} looks ×{effect:g}; {detail['observed_orders']:.0f} orders seen where "
                f"{detail['expected_orders']:.1f} were expected; score {detail['score']:.3f}"
            )
        case {"competitor": competitor, "before_minor": before}:
            then = "first seen" if before is None else f"before {money(before, currency)}"
            stock = "" if detail["in_stock"] else ", out of stock"
            return f"{competitor} at {money(detail['price_minor'], currency)} ({then}{stock})"
        case {"requests": now, "before": before}:
            return f"{now:,.0f} requests counted; the last decision rested on {before:,.0f}"
        case {"before": before, "now": now, "sd": sd}:
            return f"elasticity believed {now:.2f} ± {sd:.2f}; at the last decision {before:.2f}"
        case {"lowest_minor": lowest, "usual_minor": usual}:
            return (
                f"deals are bought ahead here: {money(lowest, currency)} beside the usual {money(usual, currency)}"
            )
        case {"on_hand": on_hand, "inbound": inbound}:
            return f"{on_hand:,} in stock, {inbound:,} on the way"
        case {"planned_ms": _, "after": after}:
            return f"the rest of a change by {after}" if after else "the rest of an earlier change"
        case {"event": event, "kind": kind}:
            return f"{event} ({kind})"
        case {"command": command, "operator": operator}:
            more = "".join(f", {name} {detail[name]}" for name in ("units", "decision_id") if detail.get(name))
            return f"{command} by {operator}{more}: {detail['reason']}" if detail.get("reason") else None
        case _ if cause == Cause.COST_CHANGED:
            return "; ".join(
                f"{name.removesuffix('_minor')} {_amount(name, old, currency)} → {_amount(name, new, currency)}"
                for name, (old, new) in sorted(detail.items())
            )
    return None


def _amount(name: str, value: Any, currency: str) -> str:
    if value is None:
        return "none"
    return money(value, currency) if name.endswith("_minor") else str(value).lower()


def _beliefs(inputs: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    currency, eps = inputs["currency"], inputs["elasticity"]
    parts = [f"elasticity {eps['mean']:.2f} ± {eps['sd']:.2f}", f"{inputs['requests']:.0f} requests a period"]
    parts.append(f"cost {money(inputs['catalog']['cost_minor'], currency)}")
    if result["rivals_mean_minor"] is None:
        parts.append("no rivals known")
    else:
        fresh = "" if result["rivals_fresh"] else " (past its validity)"
        rivals = "1 rival" if result["rivals"] == 1 else f"{result['rivals']} rivals"
        parts.append(f"{rivals} at {money(result['rivals_mean_minor'], currency)} on average{fresh}")
    if result["follow_minor"] is not None:
        parts.append(
            f"as {inputs['catalog']['role']} at most {money(result['follow_minor'], currency)} beside rivals"
        )
    if inputs["target_units"] is not None:
        parts.append(f"at most {inputs['target_units']:.1f} units to sell ({inputs['target_from']})")
    return "; ".join(parts)


def _candidate(inputs: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    if result["candidate_minor"] is None:
        return "none was looked for"
    text = money(result["candidate_minor"], inputs["currency"])
    if inputs["approved_minor"] is not None:
        text += ", an operator's price"
    if inputs["current"]:
        text += f" (current price {money(inputs['current']['default_minor'], inputs['currency'])})"
    return text


def _band(band: Mapping[str, Any], result: Mapping[str, Any], currency: str) -> str:
    candidate = result["candidate_minor"]
    low, high = band["low"], band["high"]
    binds = candidate is not None and ((low or 0) > candidate or (high is not None and high < candidate))
    binds = binds or band["kind"] == "hold" or band["keeps"] != "nothing" or band["code"] == GuardrailCode.APPROVAL
    why = _WHY.get(GuardrailCode(band["code"])) if binds else None
    return f"{'*' if binds else ' '} {band['code']} [{band['kind']}] {band['detail']}{f'; {why}' if why else ''}"


def _published(decision: Mapping[str, Any]) -> str:
    result, currency = decision["result"], decision["inputs"]["currency"]
    if not decision["published"] or result["table"] is None:
        return f"nothing new; {money(result['default_minor'], currency)} stands"
    lists = []
    for segment, table in sorted(result["table"].items()):
        below, shown = -1, []
        for price, cumulative in zip(table["p"], table["c"], strict=True):
            shown.append(f"{money(price, currency).split()[0]} {(cumulative - below) / (FULL + 1):.0%}")
            below = cumulative
        lists.append(f"{segment}: {', '.join(shown)}")
    if result["multiplier"]:
        lists.append("not all that is asked for can be sold: prices rise first where it loses the least profit")
    return f"version {decision['version']}, table {decision['table_id']}\n             " + "\n             ".join(
        lists
    )


def _segments(inputs: Mapping[str, Any]) -> str:
    """Why each segment's prices are its own; records of before segments had an elasticity have the listing's."""
    listing = inputs["elasticity"]
    told = []
    for name, segment in sorted(inputs["segments"].items()):
        counted = sum(segment["counts"]["exposures"])
        behind = f"{counted:,.0f} counted" if counted >= 1 else "none counted yet: priced by its elasticity alone"
        mean = segment.get("elasticity", listing)["mean"]
        share = "less than 1%" if segment["share"] < 0.01 else f"{segment['share']:.0%}"
        told.append(f"{name}: elasticity {mean:.2f}; {share} of requests, {behind}")
    return _NEXT_LINE.join(told)


def _gain(inputs: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    if result["confidence"] is None:
        return "nothing to compare with"
    period = inputs["policy"]["objective"]["period_minutes"] / 1440
    gain = money(result["gain_minor"], inputs["currency"])
    sd = money(result["gain_sd_minor"], inputs["currency"])
    each = "a day" if period == 1 else f"per {period:g} days"
    text = f"{gain} ± {sd} {each}; P(gain > 0) = {result['confidence']:.2f}"
    if result["multiplier"]:
        text += f"; one more unit to sell would be worth {money(result['multiplier'], inputs['currency'])}"
    return text


def _follows(inputs: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    follows = []
    if result["alert"]:
        follows.append("people are called")
    if result["review"]:
        follows.append("sent to review")
    if result["approval_until_ms"] is not None:
        hours = (result["approval_until_ms"] - inputs["at_ms"]) / 3_600_000
        follows.append(f"an approval within {hours:g} h lets the price go the whole way")
    if result["continue_at_ms"] is not None:
        minutes = (result["continue_at_ms"] - inputs["at_ms"]) / 60_000
        follows.append(f"goes on in {minutes:.0f} min, when the pace allows")
    return follows
