"""The run of `walras learn`: files and a mapping in, results and files out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from jobs.learning.files import document, write_parquet
from jobs.learning.history import History
from jobs.learning.learner import Learned, learn
from jobs.learning.residuals import Progress
from jobs.learning.results import Results, accounts_of, results_of
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping, MappingError

SUFFIXES = (".csv", ".parquet")
PAGE, JSON_FILE = "report.html", "learned.json"
_NO_TICKS = 100_000_000
"""Minutes between ticks: a file's periods need none."""


@dataclass(frozen=True, slots=True)
class LearnedFiles:
    """Result of a run: the results, and the files that were written."""

    results: Results
    written: tuple[Path, ...]


def learn_files(
    mapping: Mapping,
    files: Sequence[Path],
    policy: Policy,
    *,
    out: Path | None = None,
    memory: str = "512MB",
    progress: Progress = lambda *_: None,
) -> LearnedFiles:
    """Learn the elasticities of files, and write results into a folder.

    Parameters
    ----------
    mapping : see :mod:`jobs.replay.mapping`; its policy overrides ``policy``.
    files : CSV or Parquet files, or folders that hold the sources' files.
    out : folder of the JSON document, the Parquet files and the page; None: nothing is written.
    memory : DuckDB's memory limit; the rest is on disk.

    Raises
    ------
    MappingError
        If the files do not fit the mapping, or the mapping does not fit its own policy.
    """
    own = mapping.policy_over(policy)
    mapping.check_learning(own)
    settings = elasticity_settings(own)
    alone = mapping.model_copy(update={"buckets": 1, "tick_minutes": _NO_TICKS})
    progress("reading files", 0, 1)
    with MappedData(alone, Path(), memory=memory, files=assign(mapping, files)) as mapped:
        progress("counting cells", 0, 1)
        history = History(mapped, settings)
        learned = learn(history, settings, progress)
        results = results_of(mapping.name, history, learned, accounts_of(mapped, history.counts, learned))
        written: tuple[Path, ...] = ()
        if out is not None:
            written = _write(out, results, history, learned, mapped, progress)
    return LearnedFiles(results, written)


def assign(mapping: Mapping, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each source: by their names, or all of them if there is one source.

    A folder stands for the sources' files in it.

    Raises
    ------
    MappingError
        If a file is missing, is of another kind, or belongs to no source.
    """
    for file in files:
        if not file.exists():
            raise MappingError(f"{file}: expected a CSV or Parquet file, found none")
        if file.is_file() and file.suffix.lower() not in SUFFIXES:
            raise MappingError(f"{file}: expected a name that ends in {' or '.join(SUFFIXES)}")
    names = {name: source.file for name, source in mapping.sources.items()}
    found: dict[str, list[Path]] = {name: [] for name in names}
    single = next(iter(names)) if len(names) == 1 else None
    for file in files:
        if file.is_dir():
            inside = {name: file / source for name, source in names.items() if (file / source).is_file()}
            if not inside:
                raise MappingError(f"{file}: expected one of {', '.join(names.values())} in it, found none")
            for name, path in inside.items():
                found[name].append(path)
            continue
        owner = next((name for name, source in names.items() if source == file.name), single)
        if owner is None:
            raise MappingError(
                f"{file}: expected the file of a source ({', '.join(names.values())}); rename the file, or set "
                "sources.<name>.file in the mapping"
            )
        found[owner].append(file)
    if missing := [names[name] for name, paths in found.items() if not paths]:
        raise MappingError(f"files: expected {', '.join(missing)} too; the mapping reads {len(names)} sources")
    for name, paths in found.items():
        if len({path.suffix.lower() for path in paths}) > 1:
            raise MappingError(f"sources.{name}: expected files of one kind, got {', '.join(map(str, paths))}")
    return found


def summary_lines(results: Results, shown: int = 12) -> list[str]:
    """Return the results as lines of text: rows, states, categories, and the products of the highest revenue."""
    accounts = results.accounts
    refused = sum(each.count for each in accounts.refusals)
    lines = [
        f"{accounts.read:,} rows read, {accounts.used:,} used, {refused:,} records refused",
        *(f"  {each.count:>10,}  {each.where}: {each.code}" for each in accounts.refusals),
        f"{len(results.products):,} products: "
        + ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(results.states.items())),
    ]
    for category in results.categories[:shown]:
        lines.append(
            f"  {category.category}: mean elasticity {category.mean:.2f}, deviation {category.sd:.2f}, "
            f"{category.products:,} products, endogeneity {category.endogeneity.value.replace('_', ' ')}"
        )
    for product in results.products[:shown]:
        e = product.estimate
        raw = "not identified" if e.raw is None else f"{e.raw:.2f} ± {e.raw_se:.2f}"
        missing = f"; missing: {product.missing}" if product.missing else ""
        lines.append(
            f"  {product.sku}: {e.mean:.2f} ({e.low:.2f} to {e.high:.2f}), own data {raw}, "
            f"{product.state.value.replace('_', ' ')}{missing}"
        )
    if len(results.products) > shown:
        lines.append(f"  … {len(results.products) - shown:,} more products")
    lines.append(best_price_line(results))
    return lines


def best_price_line(results: Results) -> str:
    """Return how many products have a best price, and what the others lack."""
    counts = Counter(product.optimal_missing for product in results.products if product.optimal is None)
    found = len(results.products) - counts.total()
    lacking = ", ".join(f"{number:,} {reason}" for reason, number in sorted(counts.items()))
    return f"best prices: {found:,} of {len(results.products):,} products" + (f"; {lacking}" if lacking else "")


def _write(
    out: Path, results: Results, history: History, learned: Learned, mapped: MappedData, progress: Progress
) -> tuple[Path, ...]:
    # Imported here, since matplotlib takes a second to import.
    from jobs.learning.page.report import report_page

    out.mkdir(parents=True, exist_ok=True)
    paths = write_parquet(results, mapped.refusals(), out)
    (out / JSON_FILE).write_bytes(orjson.dumps(document(results), option=orjson.OPT_INDENT_2))
    page = report_page(results, history, learned, mapped.mapping.description, progress)
    (out / PAGE).write_text(page, encoding="utf-8")
    return (out / PAGE, out / JSON_FILE, *paths)
