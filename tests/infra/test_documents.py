"""The pages below infra/docs: headings, tables, paths, commands and generated parts agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from infra.docs import settings_table
from infra.local.parts import PARTS
from infra.reports.benchmarks.figures import LIMITS
from infra.reports.results_page import formatting
from infra.reports.results_page.benchmarks import FIGURES
from infra.reports.results_page.growth import growth_measurements
from infra.reports.results_page.page import main, page_text
from jobs.cli import commands
from jobs.monitoring.health import FLINK_JOBS
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings
from schemas.records.operator_events import CommandKind
from schemas.topics import TOPICS
from tests.infra.documents import DOCS, ROOT, check_command, commands_in

ARCHITECTURE = (DOCS / "architecture.md").read_text()
OPERATIONS = (DOCS / "operations.md").read_text()
PAGES = {
    "README.md": (ROOT / "README.md").read_text(),
    "architecture": ARCHITECTURE,
    "operations": OPERATIONS,
    "mappings": (DOCS / "mappings.md").read_text(),
}
HEADINGS = (
    "Data flow", "What runs where", "Streams", "Buckets and state", "Serving contract in Redis",
    "Session windows",
    "Price locks", "Guarantees", "Failures and restarts", "Offline data", "Packages", "Adding a thing",
)  # fmt: skip
"""Headings of the architecture page that other pages cite."""
KINDS = (
    "stream", "feature", "guardrail", "watcher signal", "elasticity model", "mapping", "job", "strategy",
    "operator command", "cause",
)  # fmt: skip
ELSEWHERE = {
    "WALRAS_TASKMANAGER_MEMORY", "WALRAS_JARS", "WALRAS_FLINK_METRICS",
}  # fmt: skip
"""Variables that the local platform reads and :class:`Settings` does not."""


def rows(page: str, head: str) -> list[list[str]]:
    """Return the cells of the table whose head starts with a text."""
    lines = page[page.index(head) :].splitlines()[2:]
    table = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_architecture_page_has_the_headings_that_others_cite() -> None:
    assert tuple(re.findall(r"^## (.+)$", ARCHITECTURE, re.MULTILINE)) == HEADINGS


def test_every_stream_is_listed_with_its_key_and_cleanup_policy() -> None:
    listed = {row[0]: (row[1], row[2]) for row in rows(ARCHITECTURE, "| stream | Kafka key |")}
    assert listed == {t.name: (t.key, "yes" if t.compacted else "no") for t in TOPICS.values()}


def test_every_package_is_listed() -> None:
    listed = {row[0].strip("`") for row in rows(ARCHITECTURE, "| package | holds |")}
    packages = {
        str(folder.relative_to(ROOT))
        for top in ("schemas", "features", "jobs")
        for folder in ((ROOT / top), *(ROOT / top).iterdir())
        if (folder / "__init__.py").exists()
    }
    assert packages <= listed


def test_every_kind_of_thing_has_its_recipe() -> None:
    assert tuple(row[0] for row in rows(ARCHITECTURE, "| kind | folder or file |")) == KINDS


def test_every_cited_tuple_is_in_its_folder() -> None:
    for _, where, names, _ in rows(ARCHITECTURE, "| kind | folder or file |"):
        [name, *inside] = re.findall(r"`([^`]+)`", names) or [""]
        path = ROOT / (inside or re.findall(r"`([^`]+)`", where))[0]
        if not name or not path.exists():
            continue
        sources = [path] if path.is_file() else sorted(path.glob("*.py"))
        assert any(re.search(rf"^(class )?{name}\b", source.read_text(), re.MULTILINE) for source in sources), name


@pytest.mark.parametrize("page", PAGES)
def test_every_cited_path_exists(page: str) -> None:
    cited = set(re.findall(r"`((?:jobs|features|schemas|infra|tests|feature_repo)/[\w./-]*)`", PAGES[page]))
    assert sorted(path for path in cited if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    base = ROOT if page == "README.md" else DOCS
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        name, _, anchor = link.partition("#")
        assert (base / name).exists(), link
        headings = re.findall(r"^#+ (.+)$", (base / name).read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}, link


@pytest.mark.parametrize("page", PAGES)
def test_every_cited_policy_key_exists(page: str) -> None:
    sections = type(Policy()).model_fields
    for section, key in re.findall(r"`([a-z_]+)\.([a-z_*]+)`", PAGES[page]):
        if section in sections and key != "*":
            assert key in type(getattr(Policy(), section)).model_fields, f"{section}.{key}"


@pytest.mark.parametrize("page", PAGES)
def test_every_cited_variable_is_read(page: str) -> None:
    cited = set(re.findall(r"\bWALRAS_[A-Z_]+", PAGES[page]))
    settings = {f"WALRAS_{name.upper()}" for name in Settings.model_fields}
    assert cited - settings - ELSEWHERE == set()


@pytest.mark.parametrize(("page", "command"), [(page, c) for page in PAGES for c in commands_in(PAGES[page])])
def test_every_command_exists_and_takes_its_options(page: str, command: str) -> None:
    check_command(command)


def test_operations_explain_every_row_of_the_status() -> None:
    explained = {name for row in rows(OPERATIONS, "| row | problem |") for name in re.findall(r"`(\w+)`", row[0])}
    own_rows = {"broker", "flink", *FLINK_JOBS, "minutes", "buckets", "redis", "supervisor", "edge"}
    assert explained == own_rows | {name for name in PARTS if name != "jobmanager"}


def test_operations_name_every_walras_command() -> None:
    known = set(typer.main.get_command(commands).commands)  # type: ignore[attr-defined]
    text = OPERATIONS + PAGES["README.md"] + ARCHITECTURE
    assert {name for name in known - {"quote"} if f"walras {name}" not in text} == set()


def test_every_kind_of_command_has_a_walras_command() -> None:
    known = {name.replace("-", "_") for name in typer.main.get_command(commands).commands}  # type: ignore[attr-defined]
    assert {kind.value for kind in CommandKind} - known == set()


def test_the_table_of_settings_is_current() -> None:
    assert settings_table.main(["--check"]) == 0, "run `make schemas`"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the markers"):
        settings_table.with_table("no table")


def test_the_results_page_is_current() -> None:
    assert main(["--check"]) == 0, "run `make results`"


def test_every_benchmark_figure_has_its_meaning() -> None:
    assert set(FIGURES) == set(LIMITS) == set(formatting.load("report.json")["figures"])


def test_every_report_is_on_the_results_page() -> None:
    page = page_text()
    names = {path.name for path in formatting.RESULTS.iterdir() if path.suffix in (".json", ".png")}
    assert {name for name in names if name not in page} == set()


def test_current_growth_figures_are_the_newest_of_each_size() -> None:
    page = page_text()
    current = page[page.index("**Current figures**") : page.index("**Superseded figures**")]
    newest = {each.listings: each.date for each in reversed(growth_measurements(formatting.RESULTS))}
    assert {(row[0], row[7]) for row in rows(current, "| listings |")} == {
        (f"{listings:,}", date) for listings, date in newest.items()
    }


def test_a_date_of_an_undated_report_belongs_to_its_content(tmp_path: Path) -> None:
    assert formatting.undated("arena.json", formatting.RESULTS).startswith("2026")
    (tmp_path / "arena.json").write_text("{}")
    assert formatting.undated("arena.json", tmp_path) == "not recorded"
