"""``walras policy`` over the records of a run, without a broker: output, and the command that is sent."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from jobs import cli
from jobs.cli import queries
from jobs.connectors.kafka import catalog
from jobs.monitoring.component import ComponentHealth
from jobs.policies import check_scope, preview, rules_in_force
from jobs.policies import control as policy_control
from jobs.runtime.settings import Settings
from schemas.records.operator_events import Command, PolicyChanged
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry

preview_module = importlib.import_module("jobs.policies.preview")  # the package has a function of this name
NOW_MS = START_MS + 19 * MINUTE_MS + 30_000


class Run:
    """A run whose topics are lists: ``changes`` of the policy, and the commands that were ``sent``."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.changes: list[dict[str, Any]] = []
        self.sent: list[Command] = []

    def patched(self, scope: str, minute: int, changes: dict[str, Any], **more: Any) -> str:
        """Add the record of an accepted patch that was sent after the others; return its id."""
        place, _, selection = scope.partition(":")
        tenant, _, market = place.partition("/")
        name = f"c{len(self.changes) + 1}"
        record = PolicyChanged(
            name, START_MS + len(self.changes), tenant, market, selection, orjson.dumps(changes).decode(),
            START_MS + minute * MINUTE_MS, bool(more.pop("replaces", False)), "ann", "spring", True, "", **more,
        )  # fmt: skip
        self.changes.append(dataclasses.asdict(record))
        return name

    def walras(self, *words: str) -> Any:
        """Run a command."""
        return CliRunner().invoke(cli.commands, list(words), env={"COLUMNS": "200"})


@pytest.fixture
def run(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A run of the tenant acme with one listing, a shoe; its time is 19:30 minutes after the start."""
    found = Run(tmp_path / "policy.yaml")
    found.file.write_text("{}")
    entry = dataclasses.asdict(a_catalog_entry("s1", category="shoes"))
    clean_environment.setattr(policy_control, "read_values", lambda bootstrap, name: iter(found.changes))
    clean_environment.setattr(policy_control, "publish_command", lambda settings, sent: found.sent.append(sent))
    clean_environment.setattr(catalog, "read_accepted", lambda bootstrap, name: iter([entry]))
    clean_environment.setattr(preview_module, "read_newest_first", lambda bootstrap, topic: iter(()))
    clean_environment.setenv("WALRAS_HOME", str(tmp_path))
    clean_environment.setenv("WALRAS_POLICY", str(found.file))
    clean_environment.setenv("WALRAS_TENANT", "acme")
    clean_environment.setenv("WALRAS_CLOCK", f"sim:{NOW_MS}:0:1e-12")
    return found


def test_rollback_names_the_pending_patch_that_it_cancels(run: Run) -> None:
    run.patched("acme", 2, {"limits": {"max_step": 0.02}})
    campaign = run.patched("acme", 900, {"limits": {"max_step": 0.3}})
    done = run.walras("policy", "rollback", "acme", "--reason", "wrong")
    assert done.exit_code == 0, done.stderr
    assert f"cancels the pending patch {campaign} from " in done.stdout and "takes back" not in done.stdout
    [sent] = run.sent
    assert sent.replaces and orjson.loads(sent.changes or "") == {"limits": {"max_step": 0.02}}
    assert (sent.from_ms or 0) < START_MS + 900 * MINUTE_MS


@pytest.mark.parametrize(("minute", "is_cancelled"), [(22, True), (21, False)])
def test_rollback_cancels_a_patch_whose_minute_is_two_minutes_ahead(
    run: Run, minute: int, is_cancelled: bool
) -> None:
    mistake = run.patched("acme", minute, {"limits": {"max_step": 0.3}})
    done = run.walras("policy", "rollback", "acme", "--reason", "wrong")
    first = f"cancels the pending patch {mistake}" if is_cancelled else f"takes back {mistake}"
    assert done.stdout.startswith(first)
    assert run.sent[0].from_ms == START_MS + (22 if is_cancelled else 23) * MINUTE_MS


def test_rollback_names_the_patch_that_it_takes_back_and_the_pending_ones_that_it_cancels(run: Run) -> None:
    pending = run.patched("acme", 900, {"grid": {"ending_minor": 5}})
    run.patched("acme", 2, {"limits": {"max_step": 0.02}})
    bad = run.patched("acme", 5, {"limits": {"max_step": 0.3}})
    done = run.walras("policy", "rollback", "acme", "--reason", "wrong")
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith(f"takes back {bad} from ") and first.endswith(": limits.max_step=0.3 (ann: spring)")
    assert second.startswith(f"cancels the pending patch {pending} from ")
    assert orjson.loads(run.sent[0].changes or "") == {"limits": {"max_step": 0.02}}


def test_rollback_that_would_change_nothing_sends_nothing(run: Run) -> None:
    pending = run.patched("acme", 900, {"limits": {"max_step": 0.3}})
    run.patched("acme", 15, {}, replaces=True, cancels=[pending])
    done = run.walras("policy", "rollback", "acme", "--reason", "wrong")
    assert done.exit_code == 2 and "changed nothing" in done.stderr and run.sent == []


def test_history_says_which_rollback_cancelled_a_patch(run: Run) -> None:
    pending = run.patched("acme", 900, {"limits": {"max_step": 0.3}})
    rollback = run.patched("acme", 15, {}, replaces=True, cancels=[pending])
    assert f"cancelled by {rollback}" in run.walras("policy", "history").stdout
    data = json.loads(run.walras("policy", "history", "--json").stdout)
    assert [each["cancelled_by"] for each in data] == [rollback, None]
    assert "pending" not in run.walras("policy", "show", "acme").stdout


@pytest.fixture
def contradicted(run: Run) -> Run:
    """The run after its policy file changed to one that a scope's document contradicts."""
    rule = {"name": "stop", "hold": True}
    run.patched("acme", 2, {"market": {"cap_ratio": 1.9}, "rules": {"entries": [rule]}})
    run.patched("acme/web-us-usd", 3, {"limits": {"max_step": 0.02}})
    run.file.write_text(yaml.safe_dump({"market": {"cap_trigger_ratio": 1.6, "cap_ratio": 1.2}}))
    return run


def test_show_names_the_scope_whose_keys_cannot_be_applied(contradicted: Run) -> None:
    done = contradicted.walras("policy", "show", "acme/web-us-usd")
    assert done.exit_code == 0 and "  not applied: acme: policy: market: expected cap_ratio ≤" in done.stdout
    assert "limits.max_step" in done.stdout and "market.cap_ratio  1.9" not in done.stdout
    data = json.loads(contradicted.walras("policy", "show", "acme/web-us-usd", "--json").stdout)
    assert list(data["left_out"]) == ["acme"] and data["scopes"] == ["acme/web-us-usd"]


@pytest.mark.parametrize(
    "words",
    [
        ("diff", "acme"),
        ("diff", "acme", "acme/web-us-usd"),
        ("preview", "acme/web-us-usd", "limits.max_step=0.04"),
        ("set", "acme/web-us-usd", "limits.max_step=0.04", "--reason", "test"),
        ("rollback", "acme", "--reason", "test"),
    ],
)
def test_document_that_cannot_be_applied_stops_no_command(contradicted: Run, words: tuple[str, ...]) -> None:
    done = contradicted.walras("policy", *words)
    assert done.exit_code == 0, done.output


def test_policy_file_that_cannot_be_read_exits_with_2(run: Run) -> None:
    run.file.write_text("limits: {max_step: lots}")
    done = run.walras("policy", "show", "acme")
    assert done.exit_code == 2 and "limits.max_step" in done.stderr


def test_status_names_the_scope_whose_keys_cannot_be_applied(
    contradicted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "component_health", lambda *_: [ComponentHealth("flink", True, "")])
    monkeypatch.setattr(queries, "open_tables", lambda settings: None)
    monkeypatch.setattr(queries, "newest_decisions", lambda bootstrap: {})
    done = contradicted.walras("status")
    assert "policy: acme is not applied: policy: market: expected cap_ratio ≤" in done.stdout
    assert "rules: none in force" in done.stdout


def test_rules_of_a_scope_whose_document_cannot_be_applied_are_not_in_force(contradicted: Run) -> None:
    settings = Settings.load()
    assert rules_in_force(settings, "acme") == ()
    assert check_scope(settings, "acme/web-us-usd").rules == 0


def test_preview_includes_the_pending_patches_that_hold_in_its_minute(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.patched("acme", 22, {"limits": {"max_step": 0.3}})
    run.patched("acme", 900, {"limits": {"min_gap_minutes": 5}})
    seen: list[Any] = []
    monkeypatch.setattr(preview_module, "preview_decisions", lambda *given: seen.append(given[4]))
    for since in (None, "1d"):
        preview(Settings.load(), "acme", {"grid.ending_minor": 5}, since=since)
    soon, late = (policy(a_catalog_entry("s1")) for policy in seen)
    assert (soon.limits.max_step, soon.limits.min_gap_minutes, soon.grid.ending_minor) == (0.3, 60, 5)
    assert (late.limits.max_step, late.limits.min_gap_minutes, late.grid.ending_minor) == (0.3, 5, 5)


@pytest.mark.parametrize("command", ["set", "rollback", "preview"])
def test_help_says_in_which_zone_a_first_minute_is_read(run: Run, command: str) -> None:
    text = " ".join(run.walras("policy", command, "--help").stdout.replace("│", " ").split())
    assert "A time without a zone is UTC" in text and "market's local time" in text
