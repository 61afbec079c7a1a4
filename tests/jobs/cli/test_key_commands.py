"""``walras keys``: kinds of keys. The broker alone is replaced."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.access import KeyRing
from jobs.access.keys import digest_of
from jobs.access.signatures import Signer
from jobs.connectors.kafka import access_keys
from schemas.records.operator_events import AccessKey


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    found = KeyRing()
    monkeypatch.setattr(access_keys, "publish_key", lambda settings, record: found.take(record))
    monkeypatch.setattr(access_keys, "read_ring", lambda settings: found)
    return found


@pytest.fixture
def walras(clean_environment: pytest.MonkeyPatch, tmp_path: Path, ring: KeyRing) -> Any:
    clean_environment.setenv("WALRAS_HOME", str(tmp_path))
    return lambda *words: CliRunner().invoke(cli.commands, ["keys", *words])


def test_key_for_prices_is_public_by_default_and_the_command_says_what_that_means(walras: Any) -> None:
    done = walras("issue", "web-shop", "--role", "quotes", "--tenant", "acme")
    assert done.exit_code == 0 and done.stdout.startswith("walras_")
    assert "quotes (public)" in done.stderr and "walras keys set-kind" in done.stderr
    [listed] = json.loads(walras("list", "--json").stdout)
    assert listed["kind"] == "public"


def test_backends_key_and_a_readers_need_no_further_word(walras: Any) -> None:
    backend = walras("issue", "shop", "--role", "quotes", "--kind", "backend")
    reader = walras("issue", "ann", "--role", "reader")
    assert "quotes (backend)" in backend.stderr and "set-kind" not in backend.stderr + reader.stderr
    listed = {each["author"]: each["kind"] for each in json.loads(walras("list", "--json").stdout)}
    assert listed == {"shop": "backend", "ann": None}


def test_kind_can_be_set_while_the_text_stays(walras: Any, ring: KeyRing) -> None:
    text = walras("issue", "web-shop", "--role", "quotes").stdout.strip()
    [record] = ring.records()
    done = walras("set-kind", record.key_id, "backend")
    assert done.exit_code == 0 and "quotes (backend)" in done.stdout
    holder = ring.check(text, record.issued_ms)
    assert holder is not None and not holder.public


def test_rotation_keeps_the_kind(walras: Any, ring: KeyRing) -> None:
    walras("issue", "web-shop", "--role", "quotes")
    [record] = ring.records()
    ring.take(AccessKey("old", 0, "", "quotes", "shop", digest_of("x"), record.expires_ms, None))
    assert walras("rotate", record.key_id).exit_code == walras("rotate", "old").exit_code == 0
    assert [each.kind for each in ring.records() if each.key_id == "old"] == ["backend"]
    assert [each.kind for each in ring.records() if each.key_id == record.key_id] == ["public"]


@pytest.mark.parametrize("state", ["reader", "revoked", "unknown"])
def test_kind_of_a_key_without_prices_cannot_be_set(walras: Any, ring: KeyRing, state: str) -> None:
    role = "reader" if state == "reader" else "quotes"
    ring.take(AccessKey("k1", 0, "", role, "ann", digest_of("x"), 1 << 52, 1 if state == "revoked" else None))
    done = walras("set-kind", "k2" if state == "unknown" else "k1", "public")
    assert done.exit_code != 0
    expected = {
        "reader": "this one's is reader",
        "revoked": "is revoked",
        "unknown": "expected one of k1; got 'k2'",
    }
    assert expected[state] in done.stderr


@pytest.mark.parametrize(
    "words", [("keys", "issue", "ann", "--role", "reader"), ("settle", "acme/web-us-usd/sku-1")]
)
@pytest.mark.parametrize("key", ["no public key", "no private key"])
def test_machine_that_cannot_sign_is_told_what_to_do_and_sends_nothing(
    words: tuple[str, ...],
    key: str,
    clean_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if key == "no private key":
        clean_environment.setenv("WALRAS_COMMAND_KEY", Signer.create(tmp_path / "other.pem").public_key)
    for name, value in (("WALRAS_HOME", str(tmp_path)), ("WALRAS_KAFKA", "127.0.0.1:1")):
        clean_environment.setenv(name, value)
    clean_environment.setattr(sys, "argv", ["walras", *words])
    with pytest.raises(SystemExit) as ended:
        cli.app()
    expected = "commands.pem: expected the key" if key == "no private key" else "WALRAS_COMMAND_KEY: expected"
    assert ended.value.code == 2 and expected in capsys.readouterr().err
    assert not (tmp_path / "run" / "commands.pem").exists()
