"""``make fuzz``: hostile records through the chain; exit code 1 when one raises or a promise is broken."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.progress import track

from infra.reports.fuzz.chain_fuzz import run
from jobs.hosting.host import LogicError

PART = 20_000
"""Records of one run; each run has a seed, a market and an event time of its own."""


def main(
    records: Annotated[int, typer.Option(help="How many records.", min=1)] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the first run; the next has the next one.")] = 1,
    buckets: Annotated[int, typer.Option(help="Buckets of the deployment.", min=1)] = 4,
    minutes: Annotated[int, typer.Option(help="Event minutes over which a run's records arrive.", min=1)] = 120,
) -> None:
    """Feed hostile records to the whole chain in one process, containment off."""
    refused: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    broken: list[str] = []
    parts = [min(PART, records - start) for start in range(0, records, PART)]
    for number, size in enumerate(track(parts, description="runs")):
        try:
            found = run(size, seed=seed + number, buckets=buckets, minutes=minutes)
        except LogicError as error:
            broken.append(f"seed {seed + number}: {error}")
            continue
        refused += found.refused
        decisions += found.decisions
        broken += [f"seed {seed + number}: {promise}" for promise in found.broken]
    typer.echo(f"{records} records, {refused.total()} refused, {decisions.total()} decisions")
    for code, count in refused.most_common():
        typer.echo(f"  refused {code}: {count}")
    for promise in broken[:20]:
        typer.echo(f"BROKEN {promise}")
    typer.echo(f"{len(broken)} promises broken")
    raise typer.Exit(1 if broken else 0)


if __name__ == "__main__":
    typer.run(main)
