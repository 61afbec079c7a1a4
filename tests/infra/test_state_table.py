"""infra/docs/state.md cites existing bounds and contains every logic and sink."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "infra" / "docs" / "state.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| state "))
]
SET_BY = [row[-1] for row in ROWS]


def test_every_row_is_complete() -> None:
    assert len(ROWS) > 40
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`([^`]+)` \(policy\)", TEXT))))
def test_cited_policy_key_exists(key: str) -> None:
    section, name = key.split(".")
    assert name in type(getattr(Policy(), section)).model_fields


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([^`]+)` \(setting\)", TEXT))))
def test_cited_setting_exists(name: str) -> None:
    assert name.removeprefix("WALRAS_").lower() in Settings.model_fields


@pytest.mark.parametrize(("name", "path"), sorted(set(re.findall(r"`([^`]+)` in `([^`]+)`", TEXT))))
def test_cited_name_is_in_its_file(name: str, path: str) -> None:
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / path).read_text())


def test_every_row_cites_a_bound_or_states_that_there_is_none() -> None:
    known = ("`", "the catalog", "the topic", "fixed", "no limit of its own", "the contracts")
    assert [set_by for set_by in SET_BY if not any(word in set_by for word in known)] == []


def test_every_logic_and_sink_is_in_the_table() -> None:
    sources = [*(ROOT / "features").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    logics = set(re.findall(r"^class (\w+Logic)\b(?!\(Protocol)", text, re.MULTILINE))
    sink = r"^class (\w+):\n(?:(?!class ).*\n)*?    streams\b[^=\n]*= frozenset"
    sinks = set(re.findall(sink, text, re.MULTILINE))
    assert {"RepricingLogic", "SegmentLogic"} <= logics and {"RedisSegmentSink", "FeastOnlineWriter"} <= sinks
    assert {name for name in logics | sinks if name not in TEXT} == set()
