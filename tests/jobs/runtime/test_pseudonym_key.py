"""The key of customers' pseudonyms: generated once, private, never the published default."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.local.errors import PlatformError
from infra.local.platform import Platform
from jobs.runtime.pseudonym import PUBLISHED_KEY, create_key
from jobs.runtime.settings import KEY_FILE, PseudonymKeyError, Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WALRAS_EDGE_SECRET", raising=False)
    return tmp_path


def test_generated_key_has_256_bits_and_mode_0600(home: Path) -> None:
    create_key(home / KEY_FILE)
    assert stat.S_IMODE((home / KEY_FILE).stat().st_mode) == 0o600
    assert len(bytes.fromhex((home / KEY_FILE).read_text())) == 32
    assert [path.name for path in (home / "run").iterdir()] == [KEY_FILE.name]


def test_two_runs_have_different_keys(tmp_path: Path) -> None:
    for name in ("a", "b"):
        create_key(tmp_path / name / KEY_FILE)
    assert (tmp_path / "a" / KEY_FILE).read_text() != (tmp_path / "b" / KEY_FILE).read_text()


def test_restart_keeps_the_key(home: Path) -> None:
    create_key(home / KEY_FILE)
    before = Settings.load(home=home).pseudonym_key
    create_key(home / KEY_FILE)
    assert Settings.load(home=home).pseudonym_key == before


def test_key_of_the_environment_overrides_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(home / KEY_FILE)
    monkeypatch.setenv("WALRAS_EDGE_SECRET", "the deployment's own")
    assert Settings.load(home=home).pseudonym_key.get_secret_value() == "the deployment's own"


def test_missing_key_error_names_variable_file_and_remedy(home: Path) -> None:
    with pytest.raises(PseudonymKeyError, match=r"WALRAS_EDGE_SECRET.*pseudonym\.key.*token_hex"):
        _ = Settings.load(home=home).pseudonym_key


@pytest.mark.parametrize("key", [PUBLISHED_KEY, ""])
def test_published_key_is_refused_with_the_remedy(key: str) -> None:
    with pytest.raises(ValidationError, match=r"WALRAS_EDGE_SECRET: expected a secret key.*token_hex"):
        Settings(edge_secret=key)


def test_published_key_in_the_file_is_refused(home: Path) -> None:
    create_key(home / KEY_FILE)
    (home / KEY_FILE).write_text(PUBLISHED_KEY)
    with pytest.raises(PseudonymKeyError, match="delete the file"):
        _ = Settings.load(home=home).pseudonym_key


def test_platform_does_not_start_with_the_published_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALRAS_EDGE_SECRET", PUBLISHED_KEY)
    with pytest.raises(PlatformError, match="WALRAS_EDGE_SECRET"):
        Platform(home).up([], job_names=[])


def test_key_is_masked_in_text() -> None:
    settings = Settings(edge_secret="my secret key")
    assert settings.pseudonym_key.get_secret_value() == "my secret key"
    assert "my secret key" not in f"{settings!r} {settings} {settings.pseudonym_key!r}"
    assert "edge_secret=SecretStr('**********')" in repr(settings)
