"""Replay recorded data through the topics of a running platform, or in this process (--alone).

A mapping file describes the data (:mod:`jobs.replay.mapping`). Records carry their event time as Kafka timestamp,
so a replay of the same files gives the same cells at any speed. Ticks are sent between the records, and one after
the last window closes it.

The platform of a replay runs with ``WALRAS_CLOCK=data`` (the current time is event time) and with the options that
``--prepare`` prints: the mapping's buckets, and its policy merged into the default one.

Exit codes: 0 the data were replayed; 1 the run gave no usable result (rows are unaccounted for; nothing was
counted, learned or priced), each reason in one sentence; 2 the mapping or a folder cannot be used.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.connectors.kafka.publisher import Publisher
from jobs.hosting.chain import Runner
from jobs.hosting.chain_workers import ChainWorkers
from jobs.pricing.policy import Policy
from jobs.replay.in_process import run_in_process
from jobs.replay.input_limits import limits_page
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping, MappingError
from jobs.replay.parquet_outputs import OutputFolderError, ParquetOutputs
from jobs.replay.records import MappedRecord
from jobs.replay.run_checks import check_input, check_results, refusal_lines, warnings
from jobs.replay.sending import TickTime, as_rejected, send, wait_until_processed, with_ticks
from jobs.runtime.settings import Settings
from schemas.time_units import DAY_MS

MAPPINGS = Path(__file__).parent / "mappings"
app = typer.Typer(add_completion=False, help=__doc__)
console = Console(stderr=True)
SHOWN = 5
"""Refused rows printed per kind."""


def find_mapping(folder: Path) -> Path:
    """Return the shipped mapping whose files a folder holds.

    Raises
    ------
    MappingError
        If none or several match.
    """
    known = {path: Mapping.load(path) for path in sorted(MAPPINGS.glob("*.yaml"))}
    fitting = [path for path, mapping in known.items() if mapping.fits(folder)]
    if len(fitting) != 1:
        offered = "; ".join(f"{m.name} ({', '.join(s.file for s in m.sources.values())})" for m in known.values())
        raise MappingError(
            f"{folder}: expected the files of exactly one mapping, {len(fitting)} match; "
            f"name one with --mapping. Shipped: {offered}"
        )
    return fitting[0]


def platform_options(mapping: Mapping, home: Path) -> str:
    """Return the options of ``infra.local up`` for a replay's platform.

    Writes ``<home>/run/policy.yaml``, the mapping's policy merged into the default one, which the jobs read.
    """
    path = home / "run" / "policy.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = mapping.policy_over(Policy.load(Settings.load().policy))
    path.write_text(yaml.safe_dump(policy.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return f"--set BUCKETS={mapping.buckets} --set POLICY={path}"


def _print_limits(wanted: bool) -> None:
    if wanted:
        typer.echo(limits_page())
        raise typer.Exit


@app.command()
def replay(
    data: Annotated[Path, typer.Option(help="folder with the recorded files", exists=True, file_okay=False)],
    mapping: Annotated[
        Path | None, typer.Option(help="mapping file; default: the shipped one that matches")
    ] = None,
    speed: Annotated[
        float, typer.Option(help="event seconds per wall second; 0: as fast as possible", min=0)
    ] = 0.0,
    limit: Annotated[int, typer.Option(help="only the first rows of each file; 0: all", min=0)] = 0,
    wait: Annotated[
        float,
        typer.Option(help="seconds to wait until every job has processed all records; 0: do not wait", min=0),
    ] = 0.0,
    alone: Annotated[
        bool, typer.Option("--alone", help="run all jobs' logic in this process, without a platform")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="map and validate every row, send nothing")] = False,
    out: Annotated[
        Path | None, typer.Option(help="with --alone: folder for a Parquet file per stream, and for refused rows")
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="with --alone: recompute every decision, also without rivals' offers")
    ] = False,
    prepare: Annotated[
        Path | None,
        typer.Option(help="write the replay's policy into this state folder, print the platform's options, exit"),
    ] = None,
    limits: Annotated[
        bool,
        typer.Option(
            "--limits", help="print the limits of every input field, exit", callback=_print_limits, is_eager=True
        ),
    ] = False,
) -> None:
    """Map recorded files to the input streams and send them, with ticks, to the running platform."""
    if (out or audit) and not alone:
        raise typer.BadParameter("--out and --audit go with --alone; on a platform, outputs are in its topics")
    settings = Settings.load()
    with ExitStack() as stack:
        try:
            chosen = Mapping.load(mapping or find_mapping(data))
            policy = chosen.policy_over(Policy.load(settings.policy))
            chosen.check_learning(policy)
            if prepare is not None:
                typer.echo(platform_options(chosen, prepare))
                return
            _print_provenance(chosen)
            workers = min(settings.replay_workers, chosen.buckets) if alone else 0
            # Before threads exist, since workers are forked.
            runner = stack.enter_context(ChainWorkers(policy, workers)) if workers > 1 else None
            files = stack.enter_context(ParquetOutputs(out)) if out else None
            settings.home.mkdir(parents=True, exist_ok=True)
            mapped = stack.enter_context(
                MappedData(chosen, data, limit=limit, memory=settings.replay_memory, scratch=settings.home)
            )
        except (MappingError, OutputFolderError) as error:
            console.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(2) from error
        balanced = _report(mapped, files)
        problems = list(check_input(mapped))
        if alone and not problems:
            problems += _run_in_process(mapped, policy, files, runner, audit=audit)
        elif not check and not problems:
            _send(mapped, settings, speed, wait)
        for problem in problems:
            console.print(problem, style="red", markup=False, soft_wrap=True)
        if problems or not balanced:
            raise typer.Exit(1)


def _print_provenance(mapping: Mapping) -> None:
    console.print(f"[bold]{mapping.name}[/]: {mapping.description}")
    for line in mapping.provenance:
        console.print(f"  - {line}", style="dim", markup=False)


def _report(mapped: MappedData, files: ParquetOutputs | None) -> bool:
    """Print the balance and the refusals; return whether every source balances."""
    accounts = mapped.balance()
    for account in accounts:
        typer.echo(str(account))
    for line in refusal_lines(mapped.refusal_counts(), list(mapped.refusals(SHOWN)), _all_in(files)):
        typer.echo(line)
    if files is not None:
        for refusal in mapped.refusals():
            files.refuse(refusal)
    for warning in warnings(mapped):
        console.print(warning, style="yellow", markup=False, soft_wrap=True)
    if span := mapped.span:
        typer.echo(f"{mapped.counts.total()} records over {(span[1] - span[0]) / DAY_MS:.1f} days")
    return all(account.balances for account in accounts)


def _all_in(files: ParquetOutputs | None) -> str:
    if files is not None:
        return f"all in {files.folder / 'refused.parquet'}"
    return "--alone --out <folder> writes all of them to refused.parquet; on a platform see `walras rejected`"


def _run_in_process(
    mapped: MappedData, policy: Policy, files: ParquetOutputs | None, runner: Runner | None, *, audit: bool
) -> list[str]:
    """Run in this process and print the results; return why the run gave no usable result."""
    first, last = mapped.span or (0, 0)
    began = time.monotonic()
    with tune_garbage_collection(), _progress() as bar:
        task = bar.add_task("market days", total=(last - first) // DAY_MS + 1)

        def reached(time_ms: int) -> None:
            bar.update(task, completed=max(0, min(time_ms, last) - first) // DAY_MS)

        run = run_in_process(mapped, policy, audit=audit, out=files, shown=SHOWN, progress=reached, runner=runner)
    took_s = time.monotonic() - began
    if run.repeats:
        kind = run.first_repeats[0]
        kinds = {(kind.stream, kind.field, kind.code): run.repeats}
        for line in refusal_lines(kinds, run.first_repeats, _all_in(files)):
            typer.echo(line)
    typer.echo(json.dumps({"outputs": dict(sorted(run.outputs.items()))}))
    for (cause, outcome), count in sorted(run.outcomes.items()):
        moved = run.audit.moved[cause, outcome] if run.audit else 0
        typer.echo(f"  {cause} {outcome}: {count}" + (f", {moved} differ without the offer" if moved else ""))
    typer.echo(
        f"{mapped.counts.total()} records in {took_s:.1f} s, {mapped.counts.total() / took_s:,.0f} a second"
    )
    problems = list(check_results(run, mapped, policy))
    if run.audit is None:
        return problems
    typer.echo(
        f"{run.audit.recomputed} decisions recomputed, {len(run.audit.differing)} differ; "
        f"{run.audit.moved.total()} differ without the rivals' offers"
    )
    if run.audit.differing:
        shown = ", ".join(run.audit.differing[:SHOWN])
        problems.append(
            f"{len(run.audit.differing)} decisions differ from what their records give, for example {shown}: "
            "this is a bug of Walras, please report it with the data."
        )
    return problems


def _send(mapped: MappedData, settings: Settings, speed: float, wait: float) -> None:
    with Publisher(settings.kafka) as publisher, _progress() as progress:
        total = mapped.counts.total()
        task = progress.add_task("sending", total=total)

        def tracked() -> Iterator[MappedRecord | TickTime]:
            for item in with_ticks(mapped):
                yield item
                progress.advance(task, isinstance(item, MappedRecord))

        sent = send(tracked(), publisher, settings.buckets, speed)
        for refusal in mapped.refusals():
            publisher.send("rejected", as_rejected(refusal), timestamp_ms=0)
    typer.echo(json.dumps({"sent": dict(sorted(sent.items()))}))
    if not wait:
        return
    with console.status("waiting for the jobs") as status:
        left = wait_until_processed(settings, wait, status.update)
    if any(left.values()):
        console.print(f"not processed within {wait:.0f} s: {left}", style="red", markup=False)
        raise typer.Exit(1)
    typer.echo("every job has processed all records")


@contextmanager
def tune_garbage_collection() -> Iterator[None]:
    """Collect garbage less often: imported objects are never garbage, and a run's records form no cycles."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


if __name__ == "__main__":
    app()
