"""Preview of a patch: the last day's decisions computed again as if the patch had been in force.

Each decision keeps its recorded inputs, except for the policy. What the patch would have changed afterwards, such
as counts at other prices, is not simulated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.connectors.kafka.catalog import read_catalog
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import read_newest_first
from jobs.policies.control import patch_minute, read_history
from jobs.policies.documents import PolicyUseError, nested
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.inputs import PricingInputs, Shares, shares_of
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.serialization import band_record, read_inputs, read_table
from jobs.pricing.decision.texts.limit_texts import binds
from jobs.pricing.decision.valuation import value_prices
from jobs.pricing.guardrails import Kind
from jobs.pricing.policies import PolicyPatch, PolicyScope, merge
from jobs.pricing.policies.patch import Document
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings
from schemas.codes import OutcomeCode
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.time_units import DAY_MS
from schemas.topics import TOPICS

MOST_DECISIONS = 10_000
HALF_90 = 1.645
"""Standard deviations from the mean to either end of a 90 % interval."""


@dataclass(slots=True)
class CategoryPreview:
    """What a patch changes in one category and currency.

    ``listings``, ``decisions``: recomputed. ``changed``, ``up``, ``down``: listings whose newest decision gets
    another main price. ``change``: sum of their relative changes. ``gain_minor``, ``gain_variance``: of the
    patched prices over the recorded ones, per period, summed over the listings' newest decisions. ``bound``,
    ``bound_before``: guardrail → decisions that it bounds under the patch, and without it. ``unpriceable``:
    listing → why it would become unpriceable.
    """

    listings: int = 0
    decisions: int = 0
    changed: int = 0
    up: int = 0
    down: int = 0
    change: float = 0.0
    gain_minor: float = 0.0
    gain_variance: float = 0.0
    bound: Counter[str] = field(default_factory=Counter)
    bound_before: Counter[str] = field(default_factory=Counter)
    unpriceable: dict[str, str] = field(default_factory=dict)

    @property
    def mean_change(self) -> float:
        """Mean relative change of the changed prices; 0 without one."""
        return self.change / self.changed if self.changed else 0.0

    @property
    def gain_interval(self) -> tuple[float, float]:
        """90 % interval of the gain, minor units; listings are taken as independent."""
        half = HALF_90 * math.sqrt(self.gain_variance)
        return self.gain_minor - half, self.gain_minor + half


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview: by (category, currency), and the decisions that could not be read."""

    scope: str
    categories: Mapping[tuple[str, str], CategoryPreview]
    decisions: int
    unreadable: int


def preview(
    settings: Settings,
    scope: str,
    changes: Mapping[str, Any],
    *,
    since: str | None = None,
    since_ms: int | None = None,
    most: int = MOST_DECISIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Preview:
    """Return what a patch would change in the decisions of the last day.

    Parameters
    ----------
    changes, since : as in :func:`jobs.policies.set_policy`. The patches that are pending now and hold in the
        patch's minute are part of the preview.
    since_ms : market time of the oldest decision; None: a day ago.
    most : largest number of decisions, newest first.
    progress : called with the decisions recomputed and their number.

    Raises
    ------
    PolicyUseError, jobs.pricing.policies.PatchError
        If the patch could not be applied.
    """
    parsed, now_ms = PolicyScope.parse(scope), settings.run_clock.now_ms()
    try:
        sections = nested(changes)
    except ValueError as error:
        raise PolicyUseError(str(error)) from None
    base, from_ms = Policy.load(settings.policy), patch_minute(settings, now_ms, since)
    patch = PolicyPatch("preview", parsed, sections, from_ms, sent_ms=now_ms)
    patched = read_history(settings).planned(base, patch)
    entries = {key: entry for key, entry in read_catalog(settings.kafka).items() if parsed.covers(entry)}
    oldest_ms = now_ms - DAY_MS if since_ms is None else since_ms
    found = _decisions(settings, entries, oldest_ms, most)
    return preview_decisions(
        parsed.text, found, entries, PolicyTopic(settings.kafka), _merger(base, patched), progress
    )


def _decisions(
    settings: Settings, entries: Mapping[str, CatalogEntry], oldest_ms: int, most: int
) -> list[dict[str, Any]]:
    """Return decisions on these listings since a time, oldest first, at most the newest ``most``."""
    found: dict[str, dict[str, Any]] = {}
    for stretch in read_newest_first(settings.kafka, TOPICS["decisions"].topic):
        values = [record.json() for record in stretch if record.value]
        recent = [value for value in values if value["event_time_ms"] >= oldest_ms]
        found.update((value["decision_id"], value) for value in recent if Listing.key_in(value) in entries)
        if len(found) >= most or (stretch and not recent):
            break
    return sorted(found.values(), key=lambda value: (value["event_time_ms"], value["decision_id"]))[-most:]


def _merger(base: Policy, documents: Mapping[PolicyScope, Document]) -> Callable[[CatalogEntry], Policy]:
    """Return a function that gives the policy of a listing; equal sets of scopes are merged once."""
    known: dict[tuple[PolicyScope, ...], Policy] = {}

    def policy(entry: CatalogEntry) -> Policy:
        scopes = tuple(sorted((s for s in documents if s.covers(entry)), key=lambda s: s.rank))
        if scopes not in known:
            known[scopes] = merge(base, documents, scopes).policy
        return known[scopes]

    return policy


def preview_decisions(
    scope: str,
    decisions: Iterable[Mapping[str, Any]],
    entries: Mapping[str, CatalogEntry],
    policies: Mapping[str, Policy],
    policy: Callable[[CatalogEntry], Policy],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Preview:
    """Return what other policies change in some decisions. Pure.

    Parameters
    ----------
    scope : text of the patch's scope, for the result.
    decisions : records, oldest first, of listings among ``entries``.
    policies : policies by the hash that the records hold.
    policy : the policy of a listing under the patch.
    """
    categories: dict[tuple[str, str], CategoryPreview] = {}
    records = list(decisions)
    newest = {Listing.key_in(decision): decision["decision_id"] for decision in records}
    patched: dict[str, PricingInputs] = {}
    for decision in records:
        try:
            inputs = read_inputs(decision["inputs"], policies)
        except (ValueError, KeyError):
            continue
        patched[decision["decision_id"]] = replace(inputs, policy=policy(entries[Listing.key_in(decision)]))
    unreadable = sum(decision["decision_id"] not in patched for decision in records)
    patched = _joint(patched)
    for number, decision in enumerate(records, 1):
        progress(number, len(records))
        key = Listing.key_in(decision)
        entry = entries[key]
        row = categories.setdefault((entry.category, entry.currency), CategoryPreview())
        if (found := patched.get(decision["decision_id"])) is not None:
            row.decisions += 1
            _compare(row, key, decision, found, is_newest=newest[key] == decision["decision_id"])
    return Preview(scope, dict(sorted(categories.items())), len(records) - unreadable, unreadable)


def _joint(inputs: Mapping[str, PricingInputs]) -> dict[str, PricingInputs]:
    """Return inputs by decision id with the joint decisions of price groups made again.

    A joint decision is made again on those members that are among the inputs.
    """
    groups: dict[str, list[PricingInputs]] = {}
    for each in inputs.values():
        if each.group is not None and each.policy.groups.equal_price:
            groups.setdefault(each.group.plan_id, []).append(each)
    terms = {
        plan_id: plan_group(members, plan_id, members[0].group.requested_by if members[0].group else "")
        for plan_id, members in groups.items()
    }
    return {
        name: replace(each, group=None if each.group is None else terms.get(each.group.plan_id))
        if each.policy.groups.equal_price
        else replace(each, group=None)
        for name, each in inputs.items()
    }


def _compare(
    row: CategoryPreview, key: str, decision: Mapping[str, Any], inputs: PricingInputs, *, is_newest: bool
) -> None:
    recorded, result = decision["result"], reprice(inputs)
    bands = [band_record(band) for band in result.bands]
    row.bound.update(_bounding(bands, result.candidate_minor, result.default_minor, inputs))
    row.bound_before.update(
        _bounding(recorded["bands"], recorded["candidate_minor"], recorded["default_minor"], inputs)
    )
    if not is_newest:
        return
    row.listings += 1
    if result.outcome is OutcomeCode.UNPRICEABLE and recorded["outcome"] != OutcomeCode.UNPRICEABLE.value:
        hard = (band for band in result.bands if band.kind is Kind.HARD)
        row.unpriceable[key] = "; ".join(band.detail or band.code for band in hard)
    before, after = recorded["default_minor"], result.default_minor
    if before and after and before != after:
        row.changed += 1
        row.up += after > before
        row.down += after < before
        row.change += after / before - 1
    gain = _gain(inputs, recorded, result.table)
    row.gain_minor += gain[0]
    row.gain_variance += gain[1] ** 2


def _bounding(
    bands: Iterable[Mapping[str, Any]], candidate_minor: int | None, main_minor: int | None, inputs: PricingInputs
) -> set[str]:
    """Return the guardrails that changed a decision, and those at whose edge its main price lies.

    Candidates are searched within the hard bands, so that a hard band that binds shows in the latter alone.
    """
    step = inputs.policy.grid.step_share * (inputs.base_minor or 0.0)
    found = set()
    for band in bands:
        edges = (edge for edge in (band["low"], band["high"]) if edge is not None and main_minor is not None)
        if binds(band, candidate_minor) or any(abs(main_minor - edge) < step for edge in edges if main_minor):
            found.add(band["code"])
    return found


def _gain(inputs: PricingInputs, recorded: Mapping[str, Any], table: Any) -> tuple[float, float]:
    """Return mean and sd of the gain of the patched prices over the recorded ones."""
    segments, current = inputs.policy.segments.names, inputs.current
    in_force = current.prices if current is not None else None
    then = read_table(recorded["table"]) if recorded["table"] else in_force
    now = table or in_force
    if then is None or now is None:
        return 0.0, 0.0
    old: Shares = shares_of(then, segments)
    new: Shares = shares_of(now, segments)
    points = sorted({price for shares in (old, new) for of_segment in shares.values() for price in of_segment})
    reference = inputs.reference()
    mean_minor = reference.mean_minor if reference is not None and reference.fresh else None
    gain = value_prices(inputs, points, mean_minor).gain(new, old)
    return gain.mean, gain.sd
