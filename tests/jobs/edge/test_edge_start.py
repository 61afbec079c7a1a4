"""What the quote port says of wrong settings when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.edge import service
from tests.jobs.edge.edge_builders import KEY


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"EDGE_PORT": "many"}, "edge_port"),
        ({}, "no key for customers' pseudonyms: expected WALRAS_EDGE_SECRET"),
        (
            {"EDGE_SECRET": KEY, "POLICY": "nowhere.yaml"},
            "nowhere.yaml: expected a readable policy file, got No such",
        ),
        ({"EDGE_SECRET": KEY}, "WALRAS_COMMAND_KEY: expected the public key that verifies commands"),
        ({"EDGE_SECRET": KEY, "CLOCK": "sim:0:0:60"}, "WALRAS_COMMAND_KEY: expected the public key"),
    ],
    ids=["setting", "secret", "policy", "public key", "public key of a simulated run"],
)
def test_wrong_start_names_the_setting(
    settings: dict[str, str],
    problem: str,
    clean_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clean_environment.setenv("WALRAS_HOME", str(tmp_path))
    clean_environment.setenv("WALRAS_KAFKA", "127.0.0.1:1")
    for name, value in settings.items():
        clean_environment.setenv(f"WALRAS_{name}", value)
    assert service.main() == 2
    assert f"edge: {problem}" in capsys.readouterr().err.replace("1 validation error for Settings\n", "")


def test_policy_file_of_another_form_is_refused(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("locks: {minutes: 9999}")
    for name, value in (("HOME", tmp_path), ("KAFKA", "127.0.0.1:1"), ("EDGE_SECRET", KEY), ("POLICY", policy)):
        clean_environment.setenv(f"WALRAS_{name}", str(value))
    assert service.main() == 2
    assert (
        "policy.yaml: locks.minutes: input should be less than or equal to 1440; got 9999"
        in capsys.readouterr().err
    )
