"""The topic `access_keys` on librdkafka's mock broker: what is read, and what a change publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from jobs.access import KeyRing, issue_key
from jobs.access.signatures import CommandKeyError, Signer
from jobs.connectors.kafka import access_keys
from jobs.connectors.kafka.access_keys import UnknownKeyError, new_ring, read_ring
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import make_command, publish_command
from jobs.connectors.kafka.publisher import Publisher, PublishError
from jobs.connectors.kafka.reading import read_values
from jobs.runtime.settings import Settings
from schemas.records.operator_events import AccessKey, CommandKind
from schemas.topics import TOPICS

NOW_MS = 1_790_000_000_000
CLOSED = "127.0.0.1:1"
TEXT, RECORD = issue_key("ann", "quotes", "acme", now_ms=NOW_MS, expires_ms=1 << 52, key_id="k1")
CHANGES: dict[str, Callable[[Settings], Any]] = {
    "issue": lambda settings: access_keys.issue(settings, "bob", "reader", "acme", 1.0),
    "rotate": lambda settings: access_keys.rotate(settings, "k1"),
    "revoke": lambda settings: access_keys.revoke(settings, "k1"),
    "set kind": lambda settings: access_keys.set_kind(settings, "k1", "backend"),
}


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.create(tmp_path / "run" / "commands.pem")


@pytest.fixture
def settings(tmp_path: Path, signer: Signer, broker: str) -> Settings:
    """Settings of a deployment whose topic holds one key."""
    made = Settings(home=tmp_path, kafka=broker, command_key=signer.public_key)
    append(made, signer.sign(RECORD))
    return made


def append(settings: Settings, *values: AccessKey | bytes | None) -> None:
    """Append records to the topic as they are."""
    with Publisher(settings.kafka) as publisher:
        for value in values:
            data = orjson.dumps(value) if isinstance(value, AccessKey) else value
            publisher.send_bytes(TOPICS["access_keys"].topic, data, timestamp_ms=NOW_MS, key="k1")


def published(settings: Settings) -> list[dict[str, Any]]:
    return list(read_values(settings.kafka, "access_keys"))


def test_records_that_are_no_keys_are_skipped_and_counted_in_one_line(
    settings: Settings, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    signed = signer.sign(RECORD)
    wrong = [b"{", b"[]", b"1", b'{"key_id": 7}', orjson.dumps(asdict(signed) | {"issued_ms": "soon"}), b"\xff"]
    forged = [replace(signed, signature=text) for text in ("é", "", "=", "a" * 88)]
    append(settings, *wrong, *forged, None, orjson.dumps(asdict(signed) | {"signature": None}))
    assert read_ring(settings).records() == [signed]
    assert [record.getMessage() for record in caplog.records] == [
        "access keys: skipped 6 records that are no keys'"
    ]


def test_every_change_is_newer_than_the_one_before_although_the_clock_lags(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "wall_ms", lambda: NOW_MS - 5000)
    CHANGES["rotate"](settings), CHANGES["set kind"](settings), CHANGES["rotate"](settings)
    CHANGES["revoke"](settings)
    changes = [value["changed_ms"] for value in published(settings)]
    assert changes == sorted(set(changes)) and len(changes) == 5
    assert read_ring(settings).holder("k1", NOW_MS) is None


@pytest.mark.parametrize("change", ["rotate", "revoke"])
def test_text_stays_refused_after_its_record_was_appended_again(
    settings: Settings, signer: Signer, change: str
) -> None:
    CHANGES[change](settings)
    append(settings, signer.sign(RECORD))
    assert read_ring(settings).check(TEXT, NOW_MS) is None
    if change == "revoke":
        with pytest.raises(UnknownKeyError, match="is revoked"):
            access_keys.rotate(settings, "k1")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("key", ["missing", "of another deployment", "no key"])
def test_change_without_the_deployments_signing_key_publishes_nothing(
    settings: Settings, change: Callable[[Settings], Any], key: str
) -> None:
    settings.signing_key_file.unlink()
    if key == "of another deployment":
        Signer.create(settings.signing_key_file)
    elif key == "no key":
        settings.signing_key_file.write_text("-----BEGIN")
    with pytest.raises(CommandKeyError, match=r"commands\.pem: expected"):
        change(settings)
    assert len(published(settings)) == 1
    assert settings.signing_key_file.exists() is (key != "missing")


def test_command_without_the_deployments_signing_key_is_not_sent(tmp_path: Path, signer: Signer) -> None:
    settings = Settings(home=tmp_path / "elsewhere", kafka=CLOSED, command_key=signer.public_key)
    command = make_command(CommandKind.SETTLE, Target("acme"), operator="ann", now_ms=NOW_MS)
    with pytest.raises(CommandKeyError, match="copy the deployment's file"):
        publish_command(settings, command)
    assert not settings.signing_key_file.exists()


@pytest.mark.parametrize("change", ["rotate", "revoke", "set kind"])
def test_change_while_the_broker_is_away_is_not_published(
    settings: Settings, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "ANSWER_S", 0.1)
    with pytest.raises(PublishError, match="the keys cannot be read, nothing was changed"):
        CHANGES[change](settings.model_copy(update={"kafka": CLOSED}))


def test_only_a_replay_may_run_without_the_public_key() -> None:
    for clock in ("wall", "sim:0:0:60"):
        with pytest.raises(CommandKeyError, match="WALRAS_COMMAND_KEY: expected"):
            new_ring(Settings(command_key=None, clock=clock))
    assert isinstance(new_ring(Settings(command_key=None, clock="data")), KeyRing)
