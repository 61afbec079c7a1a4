"""reprice: from plain data to a price table, with everything that was thought on the way. Pure.

Data: ``inputs``, one JSON object (:func:`make_inputs` lists its keys), which a decision embeds whole
with the policy it ran under. So a decision is recomputed from its own record, bit for bit, years later.

Steps (science § 7, § 8):

1. Hold rules and hard bands that do not depend on the candidate. A hold ends here.
2. Candidate: the optimum over the grid prices that those bands leave, around the current price (over
   all of them when settling); by rule for a cold start; an operator's price when there is one.
3. All guardrails read that candidate. Hard bands meet, pace bands meet.
4. The optimum again, over the grid prices in the meet; neighbouring prices kept in play; that is the
   table. Only pace against hard: the nearest hard-legal price at once (HARD_OVER_PACE). Hard against
   hard: the price is held and people are called (UNPRICEABLE).
5. Expected gain and P(gain > 0); what does not pay its change is NOT_MATERIAL.

Over 300 lines: one procedure, kept in the order in which it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.pricing.decision.record import (
    INPUTS_VERSION,
    InputsError,
    Result,
    Table,
    headline,
    make_inputs,
    read_table,
    recorded_policy,
    rivals_of,
    shares_of,
    table_record,
)
from jobs.pricing.decision.valuation import Gain, Shares, Valuation, value_prices
from jobs.pricing.grid import grid_step, price_grid
from jobs.pricing.guardrails import (
    GIVES_WAY,
    GUARDRAILS,
    Band,
    Case,
    Guardrail,
    Keeps,
    Kind,
    Meet,
    meet,
    meet_within,
    money,
)
from jobs.pricing.guardrails.forward_buying import is_bought_ahead
from jobs.pricing.optimizer import explore, solve_one
from jobs.pricing.optimizer.exploration import draw_probabilities
from jobs.pricing.policy import MINUTE_MS, Policy
from schemas.codes import Cause, GuardrailCode, OutcomeCode
from schemas.events import DEFAULT_SEGMENT
from schemas.money import ceil_minor, floor_minor, to_grid
from schemas.price_table import PriceList

__all__ = ["InputsError", "Result", "make_inputs", "recompute", "recompute_without_offer", "reprice"]

HALF_90 = 1.645
"""Standard deviations from the mean to either end of a 90 % interval."""
ALWAYS_MATERIAL = frozenset({Cause.COLD_START, Cause.SETTLE})
"""Causes whose change need not pay for itself."""


def cold_start_price(
    list_minor: float, cost_minor: float, rivals_mean_minor: float | None, policy: Policy
) -> float:
    """§ 5: cost plus margin met with the rivals' mean: the list price, brought into that band.

    Shoppers see the list price until there is a table, so the rule moves it only where it must: down
    to the rivals, up to cost plus margin; where these two do not meet, the margin wins.

    >>> [round(cold_start_price(1000, 700, mean, Policy())) for mean in (None, 1100, 950)]
    [1000, 1000, 1000]
    >>> round(cold_start_price(1000, 500, 950, Policy())), round(cold_start_price(1000, 800, 950, Policy()))
    (950, 1143)
    """
    highest = list_minor if rivals_mean_minor is None else min(list_minor, rivals_mean_minor)
    return max(highest, cost_minor / (1 - policy.cold_start.margin))


def reprice(
    inputs: Mapping[str, Any], policy: Policy | None = None, guardrails: Sequence[Guardrail] = GUARDRAILS
) -> Result:
    """Decide on one listing's prices; the module's head says how.

    Parameters
    ----------
    inputs : as :func:`make_inputs` makes them, also after a JSON round trip.
    policy : must be the one embedded in the inputs; read from there when absent.

    Raises
    ------
    InputsError
        If the inputs are of another version.
    """
    if inputs.get("v") != INPUTS_VERSION:
        raise InputsError(f"inputs.v: expected {INPUTS_VERSION}, got {inputs.get('v')!r}")
    return _Repricing(inputs, policy or recorded_policy(inputs["policy"]), guardrails).run()


class _Repricing:
    """One run of :func:`reprice`: what the steps share."""

    def __init__(self, inputs: Mapping[str, Any], policy: Policy, guardrails: Sequence[Guardrail]) -> None:
        self.inputs, self.policy, self.guardrails = inputs, policy, guardrails
        self.cause = Cause(inputs["cause"])
        self.catalog = inputs["catalog"]
        self.current: Table | None = read_table(inputs["current"]["segments"]) if inputs["current"] else None
        # Demand answers to all offers; only the rivals' bound prices.
        self.reference = rivals_of(inputs, policy)
        self.offers_mean = self.reference.mean_minor if self.reference and self.reference.fresh else None
        self.rivals = rivals_of(inputs, policy, rivals_only=True)
        self.rivals_mean = self.rivals.mean_minor if self.rivals and self.rivals.fresh else None
        self.segments = policy.segments.names
        self.case = self._case()
        self.follow = self._follow()
        # Above what its role follows: a matter of strategy, which needs no gain to show for itself.
        current = self.case.current_minor
        self.strays = self.follow is not None and current is not None and current > self.follow
        # Nor does a deal that is bought ahead: the gain of ending it lies in days that no model here sees.
        if self.current is not None and not self.case.ignores_pace:
            lowest = min(min(price_list.prices) for price_list in self.current.values())
            self.strays = self.strays or is_bought_ahead(lowest, self.case.usual_minor, self.case.bought, policy)

    def _case(self) -> Case:
        current = self.inputs["current"]
        list_minor = self.catalog["list_minor"]
        shown = current["default_minor"] if current else list_minor
        return Case(
            now_ms=self.inputs["at_ms"],
            cause=self.cause,
            currency=self.inputs["currency"],
            current_minor=shown if shown and shown > 0 else None,
            has_table=current is not None,
            cost_minor=self.catalog["cost_minor"],
            trusted_cost_minor=self.catalog["trusted_cost_minor"],
            list_minor=list_minor,
            floor_minor=self.catalog["floor_minor"],
            ceiling_minor=self.catalog["ceiling_minor"],
            rivals_mean_minor=self.rivals.mean_minor if self.rivals else None,
            rivals_fresh=self.rivals is None or self.rivals.fresh,
            surge_ban=self.inputs["surge_ban"],
            frozen=self.inputs["frozen"],
            last_change_ms=current["last_change_ms"] if current else None,
            changes_today=current["changes_today"] if current else 0,
            day_ends_ms=current["day_ends_ms"] if current else None,
            approved_minor=self.inputs["approved_minor"],
            usual_minor=self.inputs.get("usual_minor"),
            bought=tuple(self.inputs.get("bought") or ()) or None,
        )

    def _follow(self) -> int | None:
        """The highest price that the listing's role allows beside its fresh rivals."""
        ratio = self.policy.roles.follow_ratio(self.catalog.get("role") or "")
        return None if ratio is None or self.rivals_mean is None else floor_minor(self.rivals_mean * ratio)

    def _bands(self, case: Case, *, candidate: bool) -> list[Band]:
        asked = (g for g in self.guardrails if candidate or not g.needs_candidate)
        return [band for band in (g.band(case, self.policy) for g in asked) if band is not None]

    # -- the procedure -------------------------------------------------------------------------

    def run(self) -> Result:
        bands = self._bands(self.case, candidate=False)
        hard = meet(b for b in bands if b.kind is Kind.HARD)
        if any(b.kind is Kind.HOLD for b in bands) or self.case.current_minor is None:
            return self._held(bands, hard, None)
        if hard.empty:
            return self._unpriceable(bands, hard, None)

        grid = self._grid(hard)
        on_grid = value_prices(self.inputs, self.policy, grid, self.offers_mean)
        plan_shares, multiplier, below = self._optimum(on_grid)
        candidate = self._candidate(plan_shares, hard)
        worth = self._worth(on_grid, {*grid, candidate})
        reaching = self._single(candidate) if self._by_rule else plan_shares
        before = shares_of(self.current, self.segments) if self.current else None
        gain = worth.gain(reaching, before, multiplier) if before else None

        confidence = gain.confidence if gain and not self.strays else None
        case = replace(self.case, candidate_minor=candidate, confidence=confidence)
        bands = self._bands(case, candidate=True)
        hard = meet(b for b in bands if b.kind is Kind.HARD)
        if hard.empty:
            return self._unpriceable(bands, hard, candidate)
        allowed = meet(b for b in bands if b.kind is not Kind.HOLD and b.keeps not in GIVES_WAY)
        said = _Said(bands, hard, allowed, candidate, multiplier, below)
        material = self._material(worth, gain, before)
        legal = self.current is None or self._legal(hard)

        keeps = {b.keeps for b in bands if b.kind is Kind.PACE}
        if allowed.empty or (not legal and Keeps.TABLE in keeps):
            return self._over_pace(said, worth, before)
        if not material and legal:
            return self._still(OutcomeCode.NOT_MATERIAL, said, gain)
        if Keeps.TABLE in keeps:
            held = self._still(OutcomeCode.HELD, said, gain)
            return replace(
                held, continue_at_ms=min(b.until_ms for b in bands if b.until_ms and b.keeps is Keeps.TABLE)
            )
        if Keeps.MAIN in keeps and self.current is not None:
            return self._keep_main(said, worth, gain, before)
        return self._publish(said, on_grid, worth, before)

    @property
    def _by_rule(self) -> bool:
        return self.cause is Cause.COLD_START or self.inputs["approved_minor"] is not None

    def _grid(self, hard: Meet) -> list[int]:
        list_minor, grid = self.catalog["list_minor"], self.policy.grid
        settling = self.cause is Cause.SETTLE
        centre = list_minor if settling or self.case.current_minor is None else self.case.current_minor
        centre = hard.nearest(round(centre))
        span = grid.span_share * (2 if settling else 1)
        low = max(hard.low, round(centre * (1 - span)))
        high = round(centre * (1 + span)) if hard.high is None else min(hard.high, round(centre * (1 + span)))
        if self.follow is not None and not self._by_rule:
            # A listing far above its rivals must find prices beside them, however wide the way.
            high = max(hard.low, min(high, self.follow))
            low = max(hard.low, min(low, round(high * (1 - span))))
        return price_grid(low, high, list_minor, grid) or [hard.nearest(min(centre, high))]

    def _optimum(self, worth: Valuation) -> tuple[dict[str, dict[int, float]], float, bool]:
        """(A)-(D) of the optimizer over the prices of a valuation: shares, multiplier, target too low."""
        drawn = None
        if self.policy.exploration.mode == "thompson":
            drawn = draw_probabilities(*worth.beta(), self.inputs["seed"])
        sales = worth.sales(drawn)
        values = worth.values(sales)
        if self.policy.segments.uniform:
            sales, values = [_column_sums(sales)], [_column_sums(values)]
        plan = solve_one(sales, values, self.inputs["target_units"], may_close=self.policy.objective.may_close)
        rows = plan.shares * (len(self.segments) if self.policy.segments.uniform else 1)
        shares = {
            segment: {p: x for p, x in zip(worth.prices, row, strict=True) if x > 0}
            for segment, row in zip(self.segments, rows, strict=True)
        }
        return shares, plan.multiplier, plan.below_demand

    def _candidate(self, shares: Shares, hard: Meet) -> int:
        approved: int | None = self.inputs["approved_minor"]
        if approved is not None:
            return approved
        if self.cause is not Cause.COLD_START:
            return _main_price(
                shares[headline(self.segments)], fallback=hard.nearest(self.case.current_minor or 1)
            )
        catalog = self.catalog
        rule = cold_start_price(catalog["list_minor"], catalog["cost_minor"], self.rivals_mean, self.policy)
        return self._rounded(round(rule), hard, up=False)

    def _rounded(self, price: int, inside: Meet, *, up: bool) -> int:
        """To the price ending, inside the meet; the plain amount where no ending fits."""
        step = grid_step(self.catalog["list_minor"], self.policy.grid)
        ending = self.policy.grid.ending_minor if step > self.policy.grid.ending_minor else 0
        price = inside.nearest(price)
        for way in (up, not up):
            ended = to_grid(price, step, ending, up=way)
            if ended in inside:
                return ended
        return price

    def _worth(self, on_grid: Valuation, extra: set[int]) -> Valuation:
        prices = set(on_grid.prices) | extra
        if self.current is not None:
            prices |= {p for price_list in self.current.values() for p in price_list.prices}
        if len(prices) == len(on_grid.prices):
            return on_grid
        return value_prices(self.inputs, self.policy, sorted(prices), self.offers_mean)

    def _single(self, price: int) -> dict[str, dict[int, float]]:
        return {segment: {price: 1.0} for segment in self.segments}

    def _material(self, worth: Valuation, gain: Gain | None, before: Shares | None) -> bool:
        if gain is None or before is None or self._by_rule or self.strays or self.cause in ALWAYS_MATERIAL:
            return True
        value = worth.expect(before)[1]
        limits = self.policy.materiality
        return gain.mean > 0 and gain.mean >= max(limits.min_gain_minor, limits.min_gain_share * max(value, 0.0))

    def _legal(self, hard: Meet) -> bool:
        current = self.current or {}
        return all(p in hard for price_list in current.values() for p in price_list.prices)

    # -- ends ----------------------------------------------------------------------------------

    def _publish(self, said: _Said, on_grid: Valuation, worth: Valuation, before: Shares | None) -> Result:
        """Step 4: the optimum over the meet, neighbours kept in play."""
        choice = meet_within(said.allowed, (b for b in said.bands if b.keeps in GIVES_WAY))
        points = [p for p in on_grid.prices if p in choice]
        multiplier, below = said.multiplier, said.below_demand
        if self._by_rule or not points:
            main = self._rounded(said.candidate, choice, up=False)
            if self.inputs["approved_minor"] is not None:
                main = said.allowed.nearest(said.candidate)
            shares: Shares = self._single(main)
        else:
            inside = value_prices(self.inputs, self.policy, points, self.offers_mean) if points else on_grid
            shares, multiplier, below = self._optimum(inside)
        alone = self.inputs["approved_minor"] is not None
        shown = meet_within(said.allowed, (b for b in said.bands if b.keeps is Keeps.TABLE_PRICES))
        table = self._table(shares, shown, explored=not alone)
        said_now = replace(said, multiplier=multiplier, below_demand=below)
        result = self._finish(OutcomeCode.PUBLISHED, said_now, table, worth, before)
        free = before is not None and not (self._by_rule or self.strays) and self.cause not in ALWAYS_MATERIAL
        if free and result.gain and result.gain.mean <= 0 and self._legal(said.hard):
            return self._still(OutcomeCode.NOT_MATERIAL, said, result.gain)
        return result

    def _keep_main(self, said: _Said, worth: Valuation, gain: Gain | None, before: Shares | None) -> Result:
        """LOW_CONFIDENCE: main prices stay, exploration is exempt; the review is asked for."""
        current = self.current or {}
        kept = all(p in said.allowed for price_list in current.values() for p in price_list.prices)
        explored = any(len(price_list.prices) > 1 for price_list in current.values())
        if kept and (explored or self.policy.exploration.mode != "bounded"):
            return replace(self._still(OutcomeCode.HELD, said, gain), review=True)
        mains = {s: {said.allowed.nearest(pl.default): 1.0} for s, pl in current.items()}
        filled = {s: mains.get(s) or mains.get(DEFAULT_SEGMENT) or mains[min(mains)] for s in self.segments}
        table = self._table(filled, said.allowed, explored=True)
        return replace(self._finish(OutcomeCode.HELD, said, table, worth, before), review=True)

    def _over_pace(self, said: _Said, worth: Valuation, before: Shares | None) -> Result:
        """Only pace stands against the hard bands: the nearest hard-legal price at once."""
        current = self.case.current_minor or said.candidate
        price = self._rounded(said.hard.nearest(current), said.hard, up=current < said.hard.low)
        table = self._table(self._single(price), said.hard, explored=True, within_step_of=price)
        result = self._finish(OutcomeCode.HARD_OVER_PACE, said, table, worth, before)
        again = self.inputs["at_ms"] + self.policy.limits.min_gap_minutes * MINUTE_MS
        return replace(result, alert=True, continue_at_ms=again)

    def _table(self, shares: Shares, allowed: Meet, *, explored: bool, within_step_of: int | None = None) -> Table:
        """Price lists over the grid prices in the meet and the chosen prices themselves."""
        mode = self.policy.exploration.mode if explored else "none"
        chosen = {p for of_segment in shares.values() for p in of_segment}
        step = self.policy.limits.max_step
        centre = within_step_of or self.case.current_minor or min(chosen)
        low, high = max(allowed.low, round(min(chosen) * (1 - step))), round(max(chosen) * (1 + step))
        if within_step_of is not None:
            low, high = max(low, ceil_minor(centre * (1 - step))), min(high, floor_minor(centre * (1 + step)))
        high = high if allowed.high is None else min(high, allowed.high)
        high = high if self.follow is None else min(high, max(self.follow, max(chosen)))
        points = sorted(chosen | set(price_grid(low, high, self.catalog["list_minor"], self.policy.grid)))
        table: Table = {}
        names = (headline(self.segments),) if self.policy.segments.uniform else self.segments
        for segment in names:
            row = [shares[segment].get(p, 0.0) for p in points]
            exploring = self.policy.exploration
            q = explore([row], mode, exploring.propensity, exploring.neighbours, self._far())[0]
            table[segment] = PriceList.from_propensities(points, q)
        if self.policy.segments.uniform:
            return {DEFAULT_SEGMENT: table[names[0]]}
        return table

    def _far(self) -> float:
        """Propensity of the farthest prices: only while the elasticity is not known well enough.

        What they teach is worth its cost at first; later they are deals that some shoppers only wait for.
        """
        eps, exploring = self.inputs["elasticity"], self.policy.exploration
        known = HALF_90 * eps["sd"] <= exploring.far_until * abs(eps["mean"])
        return 0.0 if known else exploring.far_propensity

    def _finish(
        self, outcome: OutcomeCode, said: _Said, table: Table, worth: Valuation, before: Shares | None
    ) -> Result:
        """Expected sales, value and gain of a new table; the same table again is no news."""
        after = shares_of(table, self.segments)
        worth = self._worth(worth, {p for price_list in table.values() for p in price_list.prices})
        sales, value = worth.expect(after)
        gain = worth.gain(after, before, said.multiplier) if before else None
        default = table[headline(tuple(table))].default
        same = self.current is not None and table_record(self.current) == table_record(table)
        if same:
            outcome = OutcomeCode.HELD if outcome is OutcomeCode.HELD else OutcomeCode.UNCHANGED
        elif outcome is OutcomeCode.PUBLISHED:
            if self.cause is Cause.COLD_START:
                outcome = OutcomeCode.COLD_START
            elif said.below_demand:
                outcome = OutcomeCode.TARGET_BELOW_DEMAND
        approval = (
            max((b.until_ms or 0 for b in said.bands if b.code is GuardrailCode.APPROVAL), default=0) or None
        )
        stepping = not self._by_rule and approval is None and said.candidate not in said.allowed
        slowed = any(b.code is GuardrailCode.STEP_LIMIT for b in said.bands)
        again = self.inputs["at_ms"] + self.policy.limits.min_gap_minutes * MINUTE_MS
        return Result(
            outcome=outcome,
            table=None if same else table,
            default_minor=default,
            candidate_minor=said.candidate,
            bands=tuple(said.bands),
            hard=said.hard,
            allowed=said.allowed,
            gain=gain,
            sales=sales,
            value=value,
            multiplier=said.multiplier,
            below_demand=said.below_demand,
            reference=self.reference,
            follow_minor=self.follow,
            continue_at_ms=again if stepping and slowed and not same else None,
            alert=any(b.alert for b in said.bands),
            review=False,
            approval_until_ms=approval,
            reason=self._reason(outcome, default, said),
        )

    def _still(self, outcome: OutcomeCode, said: _Said, gain: Gain | None) -> Result:
        """Nothing new; the candidate and its gain stay in the record."""
        current = self.case.current_minor
        alert = any(b.alert for b in said.bands)
        reason = self._reason(outcome, current, said)
        return Result(
            outcome, None, current, said.candidate, tuple(said.bands), said.hard, said.allowed, gain, None, None,
            said.multiplier, said.below_demand, self.reference, self.follow, None, alert, False, None, reason,
        )  # fmt: skip

    def _held(self, bands: list[Band], hard: Meet, candidate: int | None) -> Result:
        """A hold; a held price outside the hard bands is flagged and people are called."""
        legal = hard.empty or self.current is None or self._legal(hard)
        outcome = OutcomeCode.HELD if legal and not hard.empty else OutcomeCode.UNPRICEABLE
        said = _Said(bands, hard, hard, candidate or 0, 0.0, False)
        result = self._still(outcome, said, None)
        return replace(
            result,
            candidate_minor=candidate,
            allowed=None,
            alert=result.alert or outcome is OutcomeCode.UNPRICEABLE,
        )

    def _unpriceable(self, bands: list[Band], hard: Meet, candidate: int | None) -> Result:
        said = _Said(bands, hard, hard, candidate or 0, 0.0, False)
        result = self._still(OutcomeCode.UNPRICEABLE, said, None)
        return replace(result, candidate_minor=candidate, allowed=None, alert=True)

    def _reason(self, outcome: OutcomeCode, price: int | None, said: _Said) -> str:
        """One line for people; details are in the record."""
        currency = self.inputs["currency"]
        why = self.cause.value
        detail = self.inputs["cause_detail"]
        if self.cause is Cause.CONTINUED and detail.get("after"):
            why += f" after {detail['after']}"
        if "signal" in detail and "effect" in detail:
            why += f" {detail['signal']} ×{detail['effect']:g}"
        before = self.case.current_minor if self.case.has_table else None
        binding = [b.code.value for b in said.bands if said.candidate and _binds(b, said.candidate)]
        held = f" ({', '.join(binding)})" if binding else ""
        if price is None:
            return f"{why}: {outcome.value}{held}"
        if before is None or before == price:
            return f"{why}: {outcome.value} {money(price, currency)}{held}"
        return f"{why}: {outcome.value} {money(before, currency)} → {money(price, currency)}{held}"


@dataclass(frozen=True, slots=True)
class _Said:
    """What the guardrails said of a candidate, and the optimizer's multiplier."""

    bands: list[Band]
    hard: Meet
    allowed: Meet
    candidate: int
    multiplier: float
    below_demand: bool


def _binds(band: Band, candidate: int) -> bool:
    if band.kind is Kind.HOLD or band.keeps in (Keeps.MAIN, Keeps.TABLE) or band.code is GuardrailCode.APPROVAL:
        return True
    return (band.low is not None and candidate < band.low) or (band.high is not None and candidate > band.high)


def _main_price(shares: Mapping[int, float], fallback: int) -> int:
    """The price of the largest share; of equals the lowest; the fallback when the shop closes."""
    return min(shares, key=lambda p: (-shares[p], p)) if shares else fallback


def _column_sums(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def recompute(decision: Mapping[str, Any]) -> dict[str, Any]:
    """A decision's ``result`` again, from its own ``inputs`` and the policy embedded in them.

    Parameters
    ----------
    decision : a decision's record, straight from the topic or the archive.

    Returns
    -------
    What ``decision["result"]`` must equal, bit for bit.
    """
    return reprice(decision["inputs"]).to_record()


def recompute_without_offer(decision: Mapping[str, Any]) -> dict[str, Any]:
    """The same as if no rival had been known: what an offer changed is the difference."""
    return reprice({**decision["inputs"], "offers": []}).to_record()
