"""The file of the signing keys, ``<home>/run/locks/keys.json``, shared by all edges of a deployment.

The file is created with one key when it is first needed, readable by its owner alone. Readers notice a rotation at
their next use of the keys. Writers replace the whole file while they hold a lock, so that a reader never sees half
of it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.locks.keys import LockKey, LockKeyError, LockKeys
from schemas.time_units import MINUTE_MS

LOCKS_FOLDER = Path("run") / "locks"
"""Folder of the keys, relative to a run's state folder."""
ROTATION_LEAD_MS = 5 * MINUTE_MS
"""Run time for which a new key is published before it signs: checkouts read the key set once a minute."""


class KeyFile:
    """The keys of a deployment, read again when the file has changed.

    Parameters
    ----------
    home : the run's state folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     file = KeyFile(Path(home))
    ...     first = file.keys(now_ms=0).signing(0)
    ...     rotated = file.rotate(now_ms=1_000, lead_ms=500)
    ...     first == file.keys(1_000).signing(1_000), first == KeyFile(Path(home)).keys(1_500).signing(1_500)
    (True, False)
    """

    def __init__(self, home: Path) -> None:
        self.path = home / LOCKS_FOLDER / "keys.json"
        self._read: tuple[tuple[int, int, int], LockKeys] | None = None

    def keys(self, now_ms: int) -> LockKeys:
        """Return the present keys; create the file with a key that signs from ``now_ms`` on if there is none.

        Raises
        ------
        LockKeyError
            If the file cannot be used.
        """
        with self._accessible():
            try:
                status = self.path.stat()
            except FileNotFoundError:
                with self._writing():
                    if not self.path.exists():
                        self._write(LockKeys([LockKey.generate(signs_from_ms=now_ms)]))
                status = self.path.stat()
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._read is None or self._read[0] != state:
                self._read = (state, self._parse(status.st_mode))
            return self._read[1]

    def rotate(self, now_ms: int, *, lead_ms: int = ROTATION_LEAD_MS, revoke: bool = False) -> LockKeys:
        """Add a key that signs after ``lead_ms``, drop keys that are no longer published; return the keys.

        Parameters
        ----------
        revoke : remove all former keys at once: every outstanding lock becomes invalid.

        Raises
        ------
        LockKeyError
            If the file cannot be used.
        """
        before = self.keys(now_ms)
        with self._accessible(), self._writing():
            if self.path.exists():
                before = self._parse(self.path.stat().st_mode)
            after = before.rotated(now_ms, lead_ms=lead_ms, revoke=revoke)
            self._write(after)
        return after

    def _parse(self, mode: int) -> LockKeys:
        if mode & 0o077:
            raise LockKeyError(
                f"{self.path}: expected a file that its owner alone may read, got mode {mode & 0o777:04o}; "
                "run `chmod 600` on it, and `walras locks rotate --revoke` if others may have read it"
            )
        try:
            return LockKeys.from_private_key_set(json.loads(self.path.read_bytes()))
        except (LockKeyError, ValueError) as error:
            # A decoding error quotes the text, which holds keys.
            problem = str(error) if isinstance(error, LockKeyError) else "expected JSON"
            raise LockKeyError(
                f"{self.path}: {problem}; restore the file, or delete it: a new key is generated, and all "
                "outstanding locks become invalid"
            ) from None

    @contextmanager
    def _accessible(self) -> Iterator[None]:
        """Raise LockKeyError where the file or its folder cannot be read or written."""
        try:
            yield
        except OSError as error:
            raise LockKeyError(
                f"{error.filename or self.path}: expected a file and a folder that this process may read and "
                f"write, got: {error.strerror or error}"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path.with_name("keys.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, keys: LockKeys) -> None:
        draft = self.path.with_name("keys.json.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys.private_key_set(), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
