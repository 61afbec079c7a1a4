"""Commands over recorded files, which need no running part: ``learn`` and ``mapping init``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from jobs.cli.base import NO, AsJson, commands, out, wrong
from jobs.runtime.settings import Settings

mapping_commands = typer.Typer(no_args_is_help=True, help="Describe what the columns of a file mean.")
commands.add_typer(mapping_commands, name="mapping")


@commands.command()
def learn(
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV or Parquet files, or a folder with the mapping's files", metavar="FILE..."),
    ],
    mapping: Annotated[Path, typer.Option(help="Mapping file; `walras mapping init` proposes one.")],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of report.html, learned.json and the Parquet files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn the price elasticities of recorded sales in one pass, without a running platform.

    Exit code 1 if no product has a usable row.
    """
    # Imported here, since numpy, DuckDB and scipy take longer to import than the other commands to run.
    from jobs.learning.command import learn_files, summary_lines
    from jobs.learning.files import document
    from jobs.pricing.policy import Policy, PolicyError
    from jobs.replay.mapping import Mapping, MappingError

    settings, began = Settings.load(), time.monotonic()
    with _Bar() as bar:
        try:
            policy = Policy.load(settings.policy)
            done = learn_files(
                Mapping.load(mapping), files, policy, out=folder, memory=settings.replay_memory, progress=bar.show
            )
        except (MappingError, PolicyError) as error:
            raise wrong(f"learn: {error}") from error
    results, took_s = done.results, time.monotonic() - began
    lines = summary_lines(results)
    lines += [f"written: {path}" for path in done.written] or [
        "--out FOLDER writes a report, JSON and Parquet files"
    ]
    out(document(results), lines, as_json)
    bar.console.print(f"{results.accounts.read:,} rows in {took_s:.1f} s", style="dim")
    if not any(product.estimate.rows for product in results.products):
        typer.echo("walras: learn: no product has a usable row; the refusals above name the reasons", err=True)
        raise typer.Exit(NO)


@mapping_commands.command("init")
def mapping_init(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file", metavar="FILE")],
    target: Annotated[
        Path | None, typer.Option("--out", help="File to write; it must not exist. Default: standard output.")
    ] = None,
) -> None:
    """Propose a mapping for a file of sales, with questions as comments."""
    from jobs.learning.proposals.proposal import ProposalError, propose

    try:
        text = propose(file)
    except ProposalError as error:
        raise wrong(f"mapping init: {error}") from error
    if target is None:
        typer.echo(text)
        return
    if target.exists():
        raise wrong(f"mapping init: {target}: expected the name of a new file, this one exists")
    target.write_text(text, encoding="utf-8")
    typer.echo(f"written: {target}; answer the questions in it, then run walras learn --mapping {target} {file}")


class _Bar:
    """Progress on standard error: one line per step."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self.console)
        self._tasks: dict[str, TaskID] = {}

    def show(self, step: str, done: int, whole: int) -> None:
        """Show how much of a step is done; a new step ends the one before."""
        if step not in self._tasks:
            for task in self._tasks.values():
                total = self._progress.tasks[task].total
                self._progress.update(task, completed=total)
            self._tasks[step] = self._progress.add_task(step, total=whole)
        self._progress.update(self._tasks[step], completed=done, total=whole)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._progress.tasks:
            self._progress.update(task.id, completed=task.total)
        self._progress.stop()
