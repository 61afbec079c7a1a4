"""repricing_job: under which public key it verifies commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.bucket_logic import Fact
from jobs import registry, repricing_job
from jobs.access.signatures import CommandKeyError, Signer
from jobs.repricing_job import repricing_host
from jobs.runtime.settings import Settings
from schemas.records.operator_events import Command

NOW_MS = 1_790_000_000_000


def refused(settings: Settings) -> list[str]:
    """Return the problems of an unsigned command in a logic of the job's host."""
    logic: Any = repricing_host(settings)._make_logic()
    command = Command("c1", NOW_MS, "acme", "freeze", "ann")
    value = {name: getattr(command, name) for name in Command.__dataclass_fields__}
    outputs = logic.on_fact(Fact("commands", value, NOW_MS, "commands-0-1", NOW_MS))
    return [output.value["problem"] for output in outputs if output.stream == "refused_commands"]


@pytest.mark.parametrize("clock", ["wall", "sim:0:0:60"])
def test_job_without_the_public_key_is_not_built(clock: str) -> None:
    environment: Any = None
    with pytest.raises(CommandKeyError, match="WALRAS_COMMAND_KEY: expected the public key"):
        repricing_job.build(environment, environment, Settings(clock=clock, command_key=None))


def test_client_that_submits_it_ends_with_the_exit_code_of_a_wrong_setting(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean_environment.setenv("WALRAS_HOME", str(tmp_path))
    # The environment of Flink is missing here, which the job does not reach.
    build: Any = repricing_job.build
    clean_environment.setattr(registry, "submit", lambda name, settings, **_: build(None, None, settings))
    assert registry.main(["--job", "repricing_job"]) == 2
    assert "refused repricing_job: WALRAS_COMMAND_KEY: expected the public key" in capsys.readouterr().err


def test_live_job_verifies_commands_and_a_replay_does_not(tmp_path: Path) -> None:
    key = Signer.create(tmp_path / "commands.pem").public_key
    [problem] = refused(Settings(command_key=key))
    assert problem.startswith("role, signature: expected a command signed")
    assert (
        refused(Settings(clock="data", command_key=None)) == refused(Settings(clock="data", command_key=key)) == []
    )
