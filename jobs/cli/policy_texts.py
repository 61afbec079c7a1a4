"""What ``walras policy`` prints about patches, rollbacks and previews."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from jobs.audit.explanation import format_time
from jobs.cli.base import columns
from jobs.policies import Preview, SentRollback
from jobs.policies.documents import cancelled, changes_text, scope_text
from schemas.money import Money
from schemas.records.operator_events import PolicyChanged


def preview_lines(found: Preview) -> Iterator[str]:
    """Yield a preview as text: a line per category, then what bounds the prices and what loses its price."""
    yield f"{found.scope}: {found.decisions:,} decisions recomputed" + (
        f", {found.unreadable} unreadable" if found.unreadable else ""
    )
    rows = [("  category", "listings", "changed", "up", "down", "mean change", "gain a period", "90 % interval")]
    for (category, currency), row in found.categories.items():
        low, high = row.gain_interval
        rows.append(
            (
                f"  {category}", f"{row.listings:,}", f"{row.changed:,}", f"{row.up:,}", f"{row.down:,}",
                f"{row.mean_change:+.1%}", str(Money(round(row.gain_minor), currency)),
                f"{Money(round(low), currency)} to {Money(round(high), currency)}",
            )
        )  # fmt: skip
    yield from columns(rows)
    for (category, currency), row in found.categories.items():
        where = f"{category} ({currency})"
        for code in sorted(row.bound.keys() | row.bound_before.keys()):
            if row.bound[code] != row.bound_before[code]:
                now, before = row.bound[code], row.bound_before[code]
                yield f"  {where}: {code} bounds {now:,} decisions, {before:,} before"
        for listing, why in sorted(row.unpriceable.items())[:20]:
            yield f"  {where}: {listing} would have no price: {why}"


def preview_data(found: Preview) -> dict[str, Any]:
    """Return a preview as data of the JSON output."""
    return {
        "scope": found.scope,
        "decisions": found.decisions,
        "unreadable": found.unreadable,
        "categories": [
            {each.name: getattr(row, each.name) for each in fields(row)}
            | {
                "category": category, "currency": currency, "mean_change": row.mean_change,
                "gain_interval": row.gain_interval,
            }
            for (category, currency), row in found.categories.items()
        ],
    }  # fmt: skip


def rollback_lines(sent: SentRollback) -> Iterator[str]:
    """Yield what a rollback takes back and cancels as lines."""
    last = sent.taken_back
    if last is not None and last not in sent.cancelled:
        yield f"takes back {_patch_text(last)}"
    for each in sent.cancelled:
        yield f"cancels the pending patch {_patch_text(each)}"


def _patch_text(found: PolicyChanged) -> str:
    author = f"{found.operator}: {found.reason}" if found.reason else found.operator
    return f"{found.command_id} from {format_time(found.from_ms)}: {changes_text(found)} ({author})"


def change_lines(found: list[PolicyChanged]) -> list[str]:
    """Return patches as lines: id, minute, scope, changes, author, and what became of each."""
    by = cancelled(found)
    rows = [
        (
            each.command_id,
            f"from {format_time(each.from_ms)}",
            scope_text(each),
            changes_text(each),
            f"{each.operator}: {each.reason}",
            _outcome(each, by.get(each.command_id)),
        )
        for each in found
    ]
    return list(columns(rows))


def _outcome(found: PolicyChanged, cancelled_by: str | None) -> str:
    if not found.accepted:
        return f"REFUSED: {found.problem}"
    return f"cancelled by {cancelled_by}" if cancelled_by else "accepted"
