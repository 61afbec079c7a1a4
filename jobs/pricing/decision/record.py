"""What goes into a repricing and what comes out, as plain data: the two halves of a decision's record.

Why plain data: a decision embeds its inputs whole, with the policy it ran under, so that anybody can
recompute it from its own record, bit for bit, without this bucket's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.books.offers import ReferenceOffer, RivalSettings, reference_offer
from jobs.pricing.decision.valuation import Gain
from jobs.pricing.guardrails import Band, Meet
from jobs.pricing.policy import MINUTE_MS, Policy, without_moved_keys
from schemas.codes import OutcomeCode
from schemas.events import DEFAULT_SEGMENT, Listing, Offer
from schemas.price_table import FULL, PriceList

INPUTS_VERSION = 1
Table = dict[str, PriceList]


class InputsError(ValueError):
    """Inputs that no decision can be computed from; says which key, what was expected and what came."""


def make_inputs(
    *,
    listing: str,
    at_ms: int,
    cause: str,
    cause_detail: Mapping[str, Any],
    seed: int,
    currency: str,
    catalog: Mapping[str, Any],
    current: Mapping[str, Any] | None,
    offers: Sequence[Mapping[str, Any]],
    offer_centre: float | None,
    requests: float,
    segments: Mapping[str, Mapping[str, Any]],
    elasticity: Mapping[str, float],
    rival_elasticity: Mapping[str, float],
    target_units: float | None,
    target_from: str | None,
    frozen: str | None,
    surge_ban: str | None,
    approved_minor: int | None,
    policy: Policy,
    usual_minor: float | None = None,
    bought: Sequence[int] | None = None,
) -> dict[str, Any]:
    """All a decision depends on, as plain data.

    Parameters
    ----------
    listing, at_ms, cause, cause_detail : what is decided, at which event time, and why now.
    seed : of Thompson's draw.
    catalog : cost_minor, trusted_cost_minor, list_minor, floor_minor, ceiling_minor, pack_size, role.
    current : None, or default_minor, segments {name: {"p": [...], "c": [...]}}, last_change_ms, changes_today,
        day_ends_ms.
    offers : comparable offers: competitor, price_minor, shipping_minor, in_stock, at_ms, validity_ms, offer_kind
        (absent: a rival's).
    offer_centre : log price on which the counts' offer deviations are centred.
    requests : expected in the policy's period.
    segments : {name: share, units_per_order, counts (PointCounts.to_record())}.
    elasticity, rival_elasticity : mean, sd.
    target_units, target_from : what may be sold in the period, None for no limit, and why.
    frozen, surge_ban, approved_minor : operators' and calendar's words.
    usual_minor, bought : the price that shoppers are used to; orders and units below it and otherwise.
    """
    return {
        "v": INPUTS_VERSION,
        "listing": listing,
        "at_ms": at_ms,
        "cause": cause,
        "cause_detail": dict(cause_detail),
        "seed": seed,
        "currency": currency,
        "catalog": dict(catalog),
        "current": None if current is None else dict(current),
        "offers": [dict(offer) for offer in offers],
        "offer_centre": offer_centre,
        "requests": requests,
        "segments": {name: dict(beliefs) for name, beliefs in segments.items()},
        "elasticity": dict(elasticity),
        "rival_elasticity": dict(rival_elasticity),
        "target_units": target_units,
        "target_from": target_from,
        "frozen": frozen,
        "surge_ban": surge_ban,
        "approved_minor": approved_minor,
        "usual_minor": usual_minor,
        "bought": None if bought is None else list(bought),
        "policy_hash": policy.hash,
        "policy": policy.to_dict(),
    }


@dataclass(frozen=True, slots=True)
class Result:
    """What a repricing came to. ``table`` is None when nothing new is published.

    Many fields, because a decision says everything: ``bands`` in the guardrails' order, ``hard`` and
    ``allowed`` as [low, high], ``gain`` per period over the current table, ``continue_at_ms`` when a
    pace limit still binds and the way goes on, ``alert`` when people are called; ``follow_minor`` is the
    highest price that the listing's role allows beside its rivals.
    """

    outcome: OutcomeCode
    table: Table | None
    default_minor: int | None
    candidate_minor: int | None
    bands: tuple[Band, ...]
    hard: Meet | None
    allowed: Meet | None
    gain: Gain | None
    sales: float | None
    value: float | None
    multiplier: float
    below_demand: bool
    reference: ReferenceOffer | None
    follow_minor: int | None
    continue_at_ms: int | None
    alert: bool
    review: bool
    approval_until_ms: int | None
    reason: str

    @property
    def published(self) -> bool:
        """Whether there is a new table."""
        return self.table is not None

    def to_record(self) -> dict[str, Any]:
        """Plain data: a decision's ``result``."""
        ref = self.reference
        return {
            "outcome": self.outcome.value,
            "table": None if self.table is None else table_record(self.table),
            "default_minor": self.default_minor,
            "candidate_minor": self.candidate_minor,
            "bands": [band.to_record() for band in self.bands],
            "hard": None if self.hard is None else list(self.hard),
            "allowed": None if self.allowed is None else list(self.allowed),
            "gain_minor": self.gain.mean if self.gain else None,
            "gain_sd_minor": self.gain.sd if self.gain else None,
            "confidence": self.gain.confidence if self.gain else None,
            "sales": self.sales,
            "value_minor": self.value,
            "multiplier": self.multiplier,
            "below_demand": self.below_demand,
            "rivals_mean_minor": ref.mean_minor if ref else None,
            "rivals_fresh": ref.fresh if ref else None,
            "rivals": ref.rivals if ref else 0,
            "follow_minor": self.follow_minor,
            "continue_at_ms": self.continue_at_ms,
            "alert": self.alert,
            "review": self.review,
            "approval_until_ms": self.approval_until_ms,
            "reason": self.reason,
        }


def recorded_policy(content: Mapping[str, Any]) -> Policy:
    """Return the policy of a record; a key that did not exist yet gets the default that applied then.

    A key that no longer exists is dropped: no decision ever read it. Keys that moved are left out: what a decision
    needs of local time (``day_ends_ms``, ``requests``) is in its inputs.

    >>> recorded_policy({"exploration": {"mode": "bounded"}}).exploration.far_until
    0.0
    >>> recorded_policy({"margin": {"cost_jump": 0.5}}).margin.cost_jump_scale
    'share'
    >>> recorded_policy({"watch": {"facts_per_month": 4.0, "top": 5}}).watch.top
    5
    >>> recorded_policy({"limits": {"max_step": 0.05, "day_offset_minutes": {"web": 60}}}).limits.max_step
    0.05
    """
    content = without_moved_keys(content)
    watch = {name: value for name, value in content.get("watch", {}).items() if name != "facts_per_month"}
    exploration = {"far_until": 0.0, **content.get("exploration", {})}
    margin = {"cost_jump_scale": "share", **content.get("margin", {})}
    return Policy.from_dict({**content, "exploration": exploration, "margin": margin, "watch": watch})


def table_record(table: Mapping[str, PriceList]) -> dict[str, Any]:
    """Price lists as plain data, by segment."""
    return {seg: {"p": list(pl.prices), "c": list(pl.cumulative)} for seg, pl in sorted(table.items())}


def read_table(record: Mapping[str, Any]) -> Table:
    """:func:`table_record` back."""
    return {seg: PriceList(tuple(v["p"]), tuple(v["c"])) for seg, v in record.items()}


def shares_of(table: Mapping[str, PriceList], segments: Sequence[str]) -> dict[str, dict[int, float]]:
    """Select probabilities by segment and price; a segment without a list takes the defaults'."""
    shares = {}
    for segment in segments:
        prices = table.get(segment) or table.get(DEFAULT_SEGMENT) or table[min(table)]
        below = (-1, *prices.cumulative[:-1])
        widths = [(c - b) / (FULL + 1) for b, c in zip(below, prices.cumulative, strict=True)]
        shares[segment] = dict(zip(prices.prices, widths, strict=True))
    return shares


def headline(segments: Sequence[str]) -> str:
    """The segment whose price of highest propensity is the table's default (schemas.price_table)."""
    return DEFAULT_SEGMENT if DEFAULT_SEGMENT in segments else min(segments)


def rivals_of(inputs: Mapping[str, Any], policy: Policy, *, rivals_only: bool = False) -> ReferenceOffer | None:
    """Return the reference price at the decision's time; with ``rivals_only`` the one that bounds prices."""
    listing = Listing.parse(inputs["listing"])
    tenant, market, sku = listing.tenant, listing.market, listing.sku
    pack = inputs["catalog"].get("pack_size") or 1
    offers = [
        Offer("", o["at_ms"], tenant, market, sku, "", o["competitor"], o["price_minor"], o["shipping_minor"],
              o["in_stock"], inputs["currency"], pack, "", 1.0, o["validity_ms"], o.get("offer_kind"))
        for o in inputs["offers"]
    ]  # fmt: skip
    settings = RivalSettings(policy.market.offer_validity_minutes * MINUTE_MS, 0.0, policy.market.max_rivals)
    return reference_offer(
        offers, inputs["at_ms"], currency=inputs["currency"], pack_size=pack, settings=settings,
        rivals_only=rivals_only,
    )  # fmt: skip
