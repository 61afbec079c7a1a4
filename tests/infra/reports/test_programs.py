"""The runner that the report programs share, and the tuple of programs."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

import pytest

from infra.local.config import ROOT
from infra.reports.program import Program, UsageError, run_program
from infra.reports.programs import PROGRAMS
from infra.reports.report import Figure, Limit, Report

REPORTS = ROOT / "infra" / "reports"


class _Example(Program):
    """An example with one limit."""

    name = "example"
    summary = "one figure"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--value", type=float, default=1.0)
        parser.add_argument("--quick", action="store_true")

    def run(self, options: argparse.Namespace) -> Report:
        if options.value < 0:
            raise UsageError("expected a value of at least 0")
        report = Report(self.name, judged=not options.quick)
        report.add(Figure("size", options.value, "bytes", Limit(at_most=10)))
        return report


def test_programs_contains_every_subclass() -> None:
    found = {
        node.name
        for path in REPORTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(b, ast.Name) and b.id == "Program" for b in node.bases)
    }
    assert {type(program).__name__ for program in PROGRAMS} == found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program_has_help_and_a_make_target(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"-m infra.reports {program.name} $(ARGS)" in (ROOT / "Makefile").read_text()
    assert program.summary and type(program).__doc__
    with pytest.raises(SystemExit) as ended:
        run_program(PROGRAMS, [program.name, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m infra.reports " + program.name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code"),
    [([], 0), (["--value", "11"], 1), (["--value", "11", "--quick"], 0), (["--value", "-1"], 2)],
)
def test_exit_code_is_1_for_a_missed_limit_and_2_for_a_wrong_option(options: list[str], code: int) -> None:
    assert run_program([_Example()], ["example", *options]) == code


def test_missed_limit_is_named_in_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    run_program([_Example()], ["example", "--value", "11"])
    assert capsys.readouterr().out.splitlines()[-1] == "example: 0 of 1 limits kept; missed: size"


def test_json_of_a_report_contains_machine_date_and_commit() -> None:
    report = Report("example", data={"seed": 1})
    report.add(Figure("size", 5.0, "bytes", Limit(at_most=0.5, of="ratio"), peer=20.0))
    document = report.to_json()
    assert document.keys() == {"program", "date", "machine", "commit", "ok", "figures", "seed"}
    assert document["figures"]["size"] == {
        "value": 5.0, "unit": "bytes", "ok": True, "limit": "ratio ≤ 0.5", "peer": 20.0, "ratio": 0.25,
    }  # fmt: skip


def test_every_committed_result_is_readable_json() -> None:
    import json

    assert all(json.loads(path.read_text()) for path in Path(REPORTS / "results").glob("*.json"))
