"""The whole page: the sections in their order, written or checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.reports.results_page.acceptance import elasticity, references, watcher
from infra.reports.results_page.arena import arena
from infra.reports.results_page.benchmarks import benchmarks, pipeline
from infra.reports.results_page.drills import chaos, edge_drill
from infra.reports.results_page.formatting import RESULTS
from infra.reports.results_page.growth import growth

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
SECTIONS = (benchmarks, pipeline, growth, watcher, elasticity, references, arena, chaos, edge_drill)


def page_text(folder: Path = RESULTS) -> str:
    """Return the text of the page."""
    head = [
        "# Results",
        "",
        "Generated from `infra/reports/results` by `make results`. Do not edit this page. Date, machine and "
        "commit of "
        "a figure are shown where its report records them. A figure that misses its limit is marked **missed**.",
        "",
    ]
    lines = [*head, *(line for section in SECTIONS for line in section(folder))]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the page; with ``--check`` return 1 if it is not current."""
    text = page_text()
    if "--check" in arguments:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not current:
            print(f"{PAGE}: not current; run `make results`")
        return int(not current)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0
