"""Checks of a replay: one sentence for each reason why nothing was counted, learned or priced, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.pricing.policy import Policy
from jobs.replay.in_process import InProcessRun
from jobs.replay.mapped_data import MappedData
from jobs.replay.records import Refused
from schemas.time_units import DAY_MS, MINUTES_PER_DAY

_SALES = ("quotes", "clicks", "orders")


def check_input(mapped: MappedData) -> Iterator[str]:
    """Yield why the mapped records cannot be counted or priced at all."""
    counts, accounts = mapped.counts, mapped.balance()
    if not counts or (accounts and not any(account.primary for account in accounts)):
        kinds = mapped.refusal_counts()
        if not kinds:
            yield "No row of the files matches an entry: check the files and each entry's `where`."
            return
        stream, field, code = max(kinds, key=lambda kind: kinds[kind])
        example = next(
            each for each in mapped.refusals(1) if (each.stream, each.field, each.code) == (stream, field, code)
        )
        yield (
            f"Every row was refused, {kinds[stream, field, code]} of {sum(kinds.values())} times like this: "
            f"{example}. Correct the mapping; jobs/replay/mappings/LIMITS.md lists types and limits."
        )
        return
    if not counts["catalog"]:
        yield (
            "No catalog entry was made, so no listing is known and no record counts: add a stream `catalog` to "
            "the mapping, or see above why its rows were refused."
        )
        return
    total, without = mapped.without_entry()
    if total and total == without:
        yield (
            f"None of the {total} quotes, clicks and orders has a catalog entry of its tenant, market and SKU at "
            "or before its minute, so all would be refused as UNKNOWN_LISTING: give the catalog an earlier "
            "event_time_ms, and the same names as the orders."
        )


def warnings(mapped: MappedData) -> Iterator[str]:
    """Yield why some of the records will not be counted."""
    total, without = mapped.without_entry()
    if 0 < without < total:
        yield (
            f"{without} of {total} quotes, clicks and orders have no catalog entry at or before their minute and "
            "will be refused as UNKNOWN_LISTING."
        )


def check_results(run: InProcessRun, mapped: MappedData, policy: Policy) -> Iterator[str]:
    """Yield what a finished run did not do: count, learn, price."""
    made = {entry.stream for entry in mapped.mapping.streams}
    if made & set(_SALES) and not run.counted:
        yield (
            f"Nothing was counted: of {mapped.counts.total()} records none gave a cell of a known listing "
            f"({run.outputs['rejected_cells']} cells were refused, {run.repeats} order lines are repeats). "
            "Compare tenant, market, SKU and currency of the orders with those of the catalog."
        )
    elif "orders" in made and not run.learned:
        first, last = mapped.span or (0, 0)
        days, period = (last - first) / DAY_MS, policy.elasticity.period_minutes / MINUTES_PER_DAY
        exposed = " and the price must have been quoted in it" if policy.elasticity.kind == "poisson" else ""
        yield (
            "Nothing was learned: no estimate rests on a sale. A listing must have been sold in a finished period "
            f"of {period:.3g} days (policy elasticity.period_minutes){exposed}; the data cover {days:.3g} days. "
            "Replay more data or set a shorter period in the mapping's policy."
        )
    if not run.outputs["tables"]:
        outcomes = ", ".join(f"{outcome} {count}" for (_, outcome), count in sorted(run.outcomes.items()))
        yield (
            f"Nothing was priced: {run.outputs['decisions']} decisions ({outcomes or 'none'}) and no price table. "
            "A listing needs an active catalog entry with cost_minor or list_minor."
        )


def refusal_lines(kinds: dict[tuple[str, str, str], int], examples: list[Refused], where: str) -> Iterator[str]:
    """Yield refusals as lines: each kind with its count and its first rows.

    Parameters
    ----------
    where : where all of them can be found.
    """
    for kind, count in kinds.items():
        stream, field, code = kind
        yield f"refused: {count} x {stream or 'row'} {field} {code}"
        mine = [each for each in examples if (each.stream, each.field, each.code) == kind]
        yield from (f"  {each}" for each in mine)
        if count > len(mine):
            yield f"  and {count - len(mine)} more; {where}"
