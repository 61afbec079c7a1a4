"""Citations in code and documents: the cited section, heading, source or decision exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "infra" / "docs"
FOLDERS = ("schemas", "features", "jobs", "infra", "tests")
SUFFIXES = {".py", ".java", ".md", ".yaml"}
DECISIONS = ROOT / "infra" / "decisions"

ARCHITECTURE_HEADINGS = frozenset(
    {
        "Data flow", "What runs where", "Streams", "Buckets and state", "Serving contract in Redis",
        "Guarantees", "Failures and restarts", "Offline data",
    }
)  # fmt: skip
"""Headings of the architecture page; read from the page where it exists."""

SCIENCE = re.compile(
    r"(?<!specification, )(?<!00\d )(?P<page>\b[Ss]cience )?§§? ?(?P<section>\d+)(?P<more>(?:, §§? ?\d+)*)"
    r'(?:, (?:"(?P<heading>[^"]+)"|(?P<code>[A-Z]+_[A-Z_]+)))?'
)
"""``science § 3, "Stock-outs"``; in a file that names the science page once also ``§ 3``."""
SOURCE = re.compile(
    r"(?<![\d.,_])(?P<source>00\d) (?P<place>§ (?:[A-Z]\b|\d+(?:\.\d+)?)|Eq\. \d+[a-z]?|Fig\. \d+)"
)
ARCHITECTURE = re.compile(r'\barchitecture, "(?P<heading>[^"]+)"')
DECISION = re.compile(r"\b[Dd]ecisions? (?P<numbers>\d+(?:(?:, | and | to )\d+)*)\b")
FORMER = re.compile(r'\b(?:system|house|platform|references|style)\.md\b|\(system, "')
"""Forms that name no page of the repository."""


class Cited(NamedTuple):
    """A text with its citations; line breaks and comment signs are removed."""

    path: str
    text: str


class Page(NamedTuple):
    """Headings of a page: the text of each second-level section, and the third-level headings in it."""

    sections: dict[str, str]
    subheadings: dict[str, set[str]]


def page(text: str) -> Page:
    """Read a page's headings; a numbered section is also found by its number."""
    sections, subheadings = {}, {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        found = set(re.findall(r"^### (.+)$", body, flags=re.MULTILINE))
        number = re.match(r"(\d+)\. ", title)
        for name in {title.strip(), number[1] if number else title.strip()}:
            sections[name], subheadings[name] = body, found
    return Page(sections, subheadings)


SCIENCE_PAGE = page((DOCS / "science.md").read_text())
SOURCES = {
    heading[:3]: body
    for heading, body in re.findall(
        r"^### (00\d .*?)\n(.*?)(?=^### |\Z)", SCIENCE_PAGE.sections["Sources"], flags=re.MULTILINE | re.DOTALL
    )
}


def architecture_headings() -> frozenset[str]:
    """Return the headings of the architecture page, or those agreed on while it does not exist."""
    path = DOCS / "architecture.md"
    if not path.exists():
        return ARCHITECTURE_HEADINGS
    return frozenset(re.findall(r"^##+ (.+)$", path.read_text(), flags=re.MULTILINE))


def decisions() -> frozenset[int]:
    """Return the numbers of the decision records."""
    return frozenset(int(path.name[:4]) for path in DECISIONS.glob("[0-9][0-9][0-9][0-9]-*.md"))


def joined(text: str) -> str:
    """Return a text on one line: a citation may be broken by a line's end and a comment sign."""
    return re.sub(r"\s*\n\s*(?:#|\*|//)?\s*", " ", text)


def texts() -> Iterator[Cited]:
    """Yield every file that may cite, except the decision records and this file."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and DECISIONS not in path.parents and path != Path(__file__):
                yield Cited(path.relative_to(ROOT).as_posix(), joined(path.read_text(encoding="utf-8")))
    yield Cited("README.md", joined((ROOT / "README.md").read_text(encoding="utf-8")))


def broken(text: str) -> list[str]:
    """Return the citations of a text that name something that does not exist."""
    headings, known = architecture_headings(), decisions()
    found = [match[0] for match in SCIENCE.finditer(text) if not _is_in_science(match)]
    found += [match[0] for match in SOURCE.finditer(text) if not _is_taken(match["source"], match["place"])]
    found += [match[0] for match in ARCHITECTURE.finditer(text) if match["heading"] not in headings]
    for match in DECISION.finditer(text):
        if not {int(number) for number in re.findall(r"\d+", match["numbers"])} <= known:
            found.append(match[0])
    return found


def _is_in_science(match: re.Match[str]) -> bool:
    """Return whether the science page has the cited sections, and the last of them the heading or code."""
    numbers = [match["section"], *re.findall(r"\d+", match["more"])]
    if not set(numbers) <= SCIENCE_PAGE.sections.keys():
        return False
    if match["heading"]:
        return match["heading"] in SCIENCE_PAGE.subheadings[numbers[-1]]
    return not match["code"] or match["code"] in SCIENCE_PAGE.sections[numbers[-1]]


def _is_taken(source: str, place: str) -> bool:
    """Return whether the sources section lists a place of a document."""
    return re.search(rf"{re.escape(place)}\b(?!\.\d)", SOURCES.get(source, "")) is not None


@pytest.mark.parametrize("cited", list(texts()), ids=lambda cited: cited.path)
def test_citations_exist(cited: Cited) -> None:
    assert broken(cited.text) == []


@pytest.mark.parametrize("cited", list(texts()), ids=lambda cited: cited.path)
def test_citations_name_their_page(cited: Cited) -> None:
    sections = list(SCIENCE.finditer(cited.text))
    named = cited.path == "infra/docs/science.md" or any(match["page"] for match in sections)
    assert [match[0] for match in sections if not named] == []
    assert FORMER.findall(cited.text) == []


def test_the_repository_cites_each_kind() -> None:
    everything = " ".join(cited.text for cited in texts())
    for form in (SCIENCE, SOURCE, ARCHITECTURE, DECISION):
        assert len(form.findall(everything)) > 2, form.pattern


@pytest.mark.parametrize(
    "citation",
    [
        "science § 3", 'science § 3, "Stock-outs"', "science § 4, § 7", "science § 8, STALE_OFFERS",
        'architecture, "Serving contract in Redis"', "decision 40", "decisions 24, 25 and 31", "003 Eq. 7a",
        "003 § K", "002 § 6.2", "003 Fig. 8 (D)",
    ],
)  # fmt: skip
def test_an_existing_citation_is_accepted(citation: str) -> None:
    assert broken(f"({citation}).") == []


@pytest.mark.parametrize(
    "citation",
    [
        "science § 99", 'science § 3, "No such heading"', 'science § 4, "Stock-outs"', "science § 3, § 99",
        "science § 8, NO_SUCH_CODE", 'architecture, "No such heading"', "decision 9999", "decisions 1, 9999",
        "003 Eq. 99", "003 Eq. 1", "003 § Z", "001 Eq. 1",
    ],
)  # fmt: skip
def test_a_missing_target_is_found(citation: str) -> None:
    assert broken(f"({citation}).") == [citation]


def test_a_citation_across_lines_is_read() -> None:
    assert broken(joined("as in (decision\n    # 9999)")) == ["decision 9999"]


@pytest.mark.parametrize("name", ["glossary.md", "science.md"])
def test_paths_in_documents_exist(name: str) -> None:
    text = (DOCS / name).read_text()
    paths = re.findall(r"`((?:schemas|features|jobs|infra|tests)/[\w./-]*)`", text)
    assert paths and [path for path in paths if not (ROOT / path).exists()] == []


def test_policy_keys_in_the_science_page_exist() -> None:
    from jobs.pricing.policy import Policy

    sections = type(Policy()).model_fields
    keys = re.findall(r"`(\w+)\.(\w+)`", (DOCS / "science.md").read_text())
    named = [(section, key) for section, key in keys if section in sections]
    assert len(named) > 30
    assert [pair for pair in named if pair[1] not in type(getattr(Policy(), pair[0])).model_fields] == []


def test_glossary_is_in_alphabetical_order_and_says_where_each_term_is_defined() -> None:
    entries = [line for line in (DOCS / "glossary.md").read_text().splitlines() if line.startswith("- **")]
    terms = [entry[4:].partition("**")[0] for entry in entries]
    assert len(terms) > 60 and terms == sorted(terms, key=str.lower)
    assert [entry for entry in entries if "`" not in entry] == []
