"""``walras locks``: verification of tokens and rotation of keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.locks.key_file import KeyFile
from jobs.locks.tokens import sign
from tests.jobs.locks.lock_builders import NOW, a_lock


@pytest.fixture
def walras(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    clean_environment.setenv("WALRAS_HOME", str(tmp_path))
    clean_environment.setenv("WALRAS_CLOCK", f"sim:{NOW}:0:1e-12")
    return lambda *words: CliRunner().invoke(cli.commands, ["locks", *words])


def test_genuine_token_is_verified(walras: Any, tmp_path: Path) -> None:
    token = sign(a_lock(), KeyFile(tmp_path).keys(NOW).signing(NOW))
    done = walras("verify", token, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["listing"], found["price_minor"]) == (a_lock().listing.key, a_lock().price_minor)


def test_altered_and_expired_tokens_give_exit_code_1(walras: Any, tmp_path: Path) -> None:
    key = KeyFile(tmp_path).keys(NOW).signing(NOW)
    expired = walras("verify", sign(a_lock(expires_s=NOW // 1000), key))
    assert expired.exit_code == 1 and "expired" in expired.stderr
    altered = walras("verify", sign(a_lock(), key)[:-2])
    assert altered.exit_code == 1 and "malformed" in altered.stderr


def test_verification_creates_no_key(walras: Any, tmp_path: Path) -> None:
    done = walras("verify", "a.b.c")
    assert done.exit_code == 2 and "keys.json" in done.stderr
    assert not KeyFile(tmp_path).path.exists()


def test_rotation_publishes_a_key_that_signs_later(walras: Any, tmp_path: Path) -> None:
    old = KeyFile(tmp_path).keys(NOW).signing(NOW)
    done = walras("rotate")
    assert done.exit_code == 0 and "signs in 5 minutes" in done.stdout
    listed = json.loads(walras("keys", "--json").stdout)
    assert [each["state"] for each in listed] == ["published", "signs"] and listed[1]["kid"] == old.kid
    assert old.private_jwk()["d"] not in done.stdout + walras("keys").stdout


def test_revocation_leaves_one_key(walras: Any, tmp_path: Path) -> None:
    old = KeyFile(tmp_path).keys(NOW).signing(NOW)
    assert walras("rotate", "--revoke").exit_code == 0
    [only] = json.loads(walras("keys", "--json").stdout)
    assert only["kid"] != old.kid and only["state"] == "signs"
