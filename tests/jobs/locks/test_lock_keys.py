"""Keys of price locks: rotation, the key file, and secrecy."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.locks.key_file import ROTATION_LEAD_MS, KeyFile
from jobs.locks.keys import KEPT_LONGER_MS, LockKey, LockKeyError, LockKeys
from jobs.locks.tokens import LockCode, LockError, sign, verify
from jobs.pricing.policy_limits import MAX_LOCK_MINUTES
from tests.jobs.locks.lock_builders import MINUTE, NOW, a_lock


def test_first_use_creates_one_private_file(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    first = file.keys(NOW)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert file.keys(NOW + 1) is first
    assert KeyFile(tmp_path).keys(NOW).key_set(NOW) == first.key_set(NOW)


def test_edges_that_start_together_share_one_key(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(KeyFile(tmp_path).keys(NOW).signing(NOW).kid))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_new_key_is_published_before_it_signs(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    old = file.keys(NOW).signing(NOW)
    file.rotate(NOW)
    keys = file.keys(NOW)
    assert keys.signing(NOW + ROTATION_LEAD_MS - 1) == old
    new = keys.signing(NOW + ROTATION_LEAD_MS)
    assert new != old and {jwk["kid"] for jwk in keys.key_set(NOW)["keys"]} == {old.kid, new.kid}


def test_lock_signed_last_by_a_former_key_is_valid_until_it_expires(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.keys(NOW)
    file.rotate(NOW)
    last = NOW + ROTATION_LEAD_MS - 1_000
    lock = a_lock(expires_s=last // 1000 + MAX_LOCK_MINUTES * 60)
    token = sign(lock, file.keys(last).signing(last))
    assert verify(token, file.keys(last), lock.expires_ms - 1) == lock


def test_former_key_is_dropped_after_its_last_lock(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    old = file.keys(NOW).signing(NOW)
    file.rotate(NOW)
    end = NOW + ROTATION_LEAD_MS + MAX_LOCK_MINUTES * MINUTE + KEPT_LONGER_MS
    assert file.keys(end).public_key(old.kid, end) is not None
    assert file.keys(end).public_key(old.kid, end + 1) is None
    file.rotate(end + 1)
    assert old.private_jwk()["d"] not in file.path.read_text()


def test_revocation_refuses_outstanding_locks_at_once(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    token = sign(a_lock(), file.keys(NOW).signing(NOW))
    file.rotate(NOW, revoke=True)
    with pytest.raises(LockError) as refused:
        verify(token, file.keys(NOW), NOW)
    assert refused.value.code is LockCode.UNKNOWN_KEY
    assert verify(sign(a_lock(), file.keys(NOW).signing(NOW)), file.keys(NOW), NOW) == a_lock()


def test_running_reader_notices_a_rotation(tmp_path: Path) -> None:
    reader = KeyFile(tmp_path)
    before = reader.keys(NOW)
    KeyFile(tmp_path).rotate(NOW)
    assert len(reader.keys(NOW).published(NOW)) == len(before.published(NOW)) + 1


def test_private_key_is_in_no_repr_and_no_public_key_set() -> None:
    key = LockKey.generate(signs_from_ms=NOW)
    secret = key.private_jwk()["d"]
    keys = LockKeys([key])
    assert secret not in repr(key) + repr(keys) + json.dumps(keys.key_set(NOW)) + repr(vars(key))
    assert "private" not in repr(key)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": []}', '{"keys": [{"d": "SECRET"}]}'])
def test_unusable_file_is_named_without_its_content(tmp_path: Path, content: str) -> None:
    file = KeyFile(tmp_path)
    file.keys(NOW)
    file.path.write_text(content)
    with pytest.raises(LockKeyError, match=r"keys\.json") as error:
        file.keys(NOW)
    assert "SECRET" not in str(error.value) and error.value.__cause__ is None


@pytest.mark.parametrize("use", [lambda file: file.keys(NOW), lambda file: file.rotate(NOW)])
@pytest.mark.parametrize("broken", ["run", "run/locks"])
def test_folder_that_cannot_be_used_is_named(
    tmp_path: Path, broken: str, use: Callable[[KeyFile], object]
) -> None:
    (tmp_path / broken).parent.mkdir(exist_ok=True)
    (tmp_path / broken).write_text("no folder")
    with pytest.raises(LockKeyError, match=r"run.*expected a file and a folder"):
        use(KeyFile(tmp_path))


def test_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.keys(NOW)
    file.path.chmod(0o644)
    with pytest.raises(LockKeyError, match="mode 0644"):
        KeyFile(tmp_path).keys(NOW)
