"""The decision records in infra/decisions: form, numbers, cited records and paths, and the generated index."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from infra.decisions_index import FOLDER, INDEX, Decision, DecisionFormError, index_text, parse, read_decisions

ROOT = Path(__file__).parents[2]
DECISIONS = read_decisions()
NUMBERS = {decision.number for decision in DECISIONS}
CITED_DECISION = re.compile(r"\b[Dd]ecisions? (\d+(?:, \d+)*(?: (?:and|to) \d+)?)")
CITED_PATH = re.compile(r"(?<![\w./-])((?:[\w.-]+/)+[\w.-]+\.(?:py|java|md|yaml|json|lock|toml|html|png))\b")
CITED_MODULE = re.compile(r"python -m ([\w.]+\w)")
TOP_FOLDERS = {"feature_repo", "features", "infra", "jobs", "schemas", "tests"}
RECORD = (
    "# 1. Use X\nStatus: accepted\nDate: 2026-01-31\n\n## Decision\nA.\n\n## Consequences\nB.\n\n## Context\nC.\n"
)

each_decision = pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: str(decision.number))


def test_numbers_have_no_gap_and_no_duplicate() -> None:
    assert [decision.number for decision in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@each_decision
def test_status_names_later_existing_decisions(decision: Decision) -> None:
    assert set(decision.changed_by) <= NUMBERS
    assert all(number > decision.number for number in decision.changed_by)
    assert list(decision.changed_by) == sorted(set(decision.changed_by))


@each_decision
def test_cited_decisions_exist(decision: Decision) -> None:
    cited = {
        int(number) for group in CITED_DECISION.findall(decision.text) for number in re.findall(r"\d+", group)
    }
    assert cited <= NUMBERS


@each_decision
def test_cited_paths_exist(decision: Decision) -> None:
    cited = {path for path in CITED_PATH.findall(decision.text) if path.endswith(".py") or _in_repository(path)}
    assert {path for path in cited if not (ROOT / path).exists()} == set()


@each_decision
def test_cited_modules_exist(decision: Decision) -> None:
    modules = set(CITED_MODULE.findall(decision.text))
    assert {module for module in modules if importlib.util.find_spec(module) is None} == set()


@each_decision
def test_every_section_has_text(decision: Decision) -> None:
    bodies = re.split(r"^## .+\n", decision.text, flags=re.MULTILINE)[1:]
    assert all(body.strip() for body in bodies)


def test_committed_index_equals_the_generated_text() -> None:
    assert INDEX.read_text(encoding="utf-8") == index_text(DECISIONS), "run `make schemas`"


def test_links_to_decision_files_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(path for top in TOP_FOLDERS for path in (ROOT / top).rglob("*.md"))]
    texts = [
        page.read_text(encoding="utf-8") for page in pages if page.name == "README.md" or page.parent == FOLDER
    ]
    cited = {name for text in texts for name in re.findall(r"\b\d{4}-[a-z0-9-]+\.md\b", text)}
    assert {name for name in cited if not (FOLDER / name).exists()} == set()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("1-use-x.md", RECORD),
        ("0002-use-x.md", RECORD),
        ("0001-use-x.md", RECORD.replace("Use X", "Use X.")),
        ("0001-use-x.md", RECORD.replace("accepted", "draft")),
        ("0001-use-x.md", RECORD.replace("accepted", "amended by decisions 2")),
        ("0001-use-x.md", RECORD.replace("2026-01-31", "31.1.2026")),
        ("0001-use-x.md", RECORD.replace("## Context", "## Why")),
    ],
)
def test_record_of_another_form_is_refused(file: str, text: str) -> None:
    parse("0001-use-x.md", RECORD)
    with pytest.raises(DecisionFormError, match=re.escape(file)):
        parse(file, text)


def _in_repository(path: str) -> bool:
    return path.split("/")[0] in TOP_FOLDERS
