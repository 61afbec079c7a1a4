"""recompute: decisions of the topic from their own records and policies."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.cli.base import NO, AsJson, commands, out, wrong
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import Record, newest, read_values
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS


def _has_id(record: Record, decision_id: str) -> bool:
    # Decoded only if the value contains the id: decisions have some kilobytes, and an old one follows many.
    return decision_id.encode() in (record.value or b"") and record.json()["decision_id"] == decision_id


@commands.command()
def recompute(
    decision_id: Annotated[str, typer.Argument(help="Id of a decision; omitted with --all.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every decision of the topic.")] = False,
    without_offer: Annotated[
        bool, typer.Option("--without-offer", help="Also recompute without rivals' offers; count the differences.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute decisions from their own records and compare the results bit for bit.

    Exit code 1 if a result differs from its record. With --without-offer the code stays 0: a difference there is
    what the rivals' offers changed, not a fault.
    """
    # Imported here, since numpy and scipy take longer to import than the other commands to run.
    from jobs.audit.recompute import Audit

    if bool(decision_id) == every:
        raise wrong("recompute: expected a decision id or --all")
    settings = Settings.load()
    if every:
        asked = read_values(settings.kafka, "decisions")
    else:
        topic = TOPICS["decisions"].topic
        one = newest(settings.kafka, topic, lambda record: _has_id(record, decision_id), "decided_at_ms")
        asked = iter([one] if one else [])
    audit = Audit.of(asked, PolicyTopic(settings.kafka), without_offer=without_offer)
    for name, why in audit.refusals.items():
        typer.echo(f"walras: {name}: {why}", err=True)
    data: dict[str, Any] = {"recomputed": audit.recomputed, "differing": audit.differing, "joint": audit.joint}
    lines = [
        f"{audit.recomputed} decisions recomputed, {len(audit.differing)} differ",
        *(f"  {name}" for name in audit.differing[:50]),
    ]
    if every:
        lines.append(f"{audit.joint} joint decisions recomputed, {audit.incomplete} lack a member's record")
    if without_offer:
        data["different_without_offer"] = audit.moved.total()
        lines.append(f"{audit.moved.total()} differ without the rivals' offers")
    out(data, lines, as_json)
    if decision_id and not audit.recomputed:
        typer.echo(f"walras: no decision {decision_id!r} in the topic", err=True)
        raise typer.Exit(NO)
    if audit.differing:
        raise typer.Exit(NO)
