"""The file of access keys from which a process starts while Kafka is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.access import KeyRing
from jobs.connectors.kafka.access_keys import RingFile
from tests.jobs.access.access_builders import keys


def test_file_is_written_into_a_new_state_folder(tmp_path: Path) -> None:
    path, ring = tmp_path / "home" / "run" / "keys" / "ring.json", KeyRing()
    RingFile(path).save(KeyRing(keys.values()))
    assert path.stat().st_mode & 0o777 == 0o600
    RingFile(path).load(ring)
    assert ring.records() == KeyRing(keys.values()).records()


def test_folder_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").write_text("a file")
    RingFile(tmp_path / "run" / "keys" / "ring.json").save(KeyRing(keys.values()))
    assert "expected a writable" in caplog.text and "ring.json" in caplog.text
