"""Fetch jars by Maven coordinate and verify each against ``jars.lock``; interrupted downloads are resumed.

``jars.lock`` has one line per jar: use (kafka | flink), coordinate, SHA-256, bytes. ``make jars-lock`` writes it:
jgo resolves the coordinates below with all their dependencies. jgo's configuration (``~/.config/jgo.conf``) may
name a mirror; the checksum decides whether a file is accepted.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import PlatformError

LOCK = Path(__file__).with_name("jars.lock")
KAFKA = "org.apache.kafka:kafka_2.13:4.1.1"
FLINK = (
    "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",
    "org.apache.flink:flink-sql-parquet:2.3.0",
    "org.apache.hadoop:hadoop-client-api:3.4.1",
    "org.apache.hadoop:hadoop-client-runtime:3.4.1",
)
CHUNK = 1 << 20
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar: its use, coordinate, SHA-256 and size in bytes."""

    use: str
    coordinate: str
    sha256: str
    size: int

    @property
    def components(self) -> tuple[str, str, str, str]:
        """Return group, artifact, version and classifier (may be empty)."""
        group, artifact, version, *classifier = self.coordinate.split(":")
        return group, artifact, version, classifier[0] if classifier else ""

    @property
    def file_name(self) -> str:
        """Return the name in the cache folder.

        >>> Jar("kafka", "org.slf4j:slf4j-api:1.7.36", "", 0).file_name
        'slf4j-api-1.7.36.jar'
        """
        _, artifact, version, classifier = self.components
        return f"{artifact}-{version}{'-' + classifier if classifier else ''}.jar"

    @property
    def repository_path(self) -> str:
        """Return the path below a Maven repository."""
        group, artifact, version, _ = self.components
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.file_name}"


def parse_lock(text: str) -> list[Jar]:
    """Return the jars of a lock file.

    >>> parse_lock("# a comment\\nflink g:a:1 00ff 12\\n")
    [Jar(use='flink', coordinate='g:a:1', sha256='00ff', size=12)]

    Raises
    ------
    PlatformError
        Naming a line that is not ``use coordinate sha256 bytes``.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 4 or not fields[3].isdigit():
            raise PlatformError(f"jars.lock line {number}: expected 'use coordinate sha256 bytes', found {line!r}")
        jars.append(Jar(fields[0], fields[1], fields[2], int(fields[3])))
    return jars


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(jar: Jar, path: Path) -> None:
    """Delete a file and raise an error if it is not the jar of the lock.

    Raises
    ------
    PlatformError
        Naming the jar, the expected checksum and the one found.
    """
    found = sha256_of(path)
    if found != jar.sha256:
        path.unlink()
        raise PlatformError(
            f"{jar.coordinate}: expected SHA-256 {jar.sha256}, got {found}. The file was deleted. Run the command "
            "again; if the error persists, the repository serves another file than the locked one."
        )


def missing(jars: Iterable[Jar], folder: Path) -> list[Jar]:
    """Return the jars that are not in the folder.

    A download gets its final name only after its checksum was verified, so comparing the size is sufficient.
    """
    return [
        j for j in jars if not (folder / j.file_name).exists() or (folder / j.file_name).stat().st_size != j.size
    ]


def repositories() -> list[str]:
    """Return the addresses of the Maven repositories, those of jgo's configuration first."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    return [url.rstrip("/") for url in (*GlobalSettings.load().repositories.values(), MAVEN_CENTRAL_URL)]


def download(jar: Jar, folder: Path, sources: Iterable[str]) -> None:
    """Download one jar, resuming an interrupted download.

    Raises
    ------
    PlatformError
        When no repository serves it, or the checksum is wrong.
    """
    import requests

    partial = folder / f"{jar.file_name}.part"
    last = "no repository is configured"
    for attempt in range(ATTEMPTS):
        for source in sources:
            have = partial.stat().st_size if partial.exists() else 0
            if have > jar.size:
                partial.unlink()
                have = 0
            if have == jar.size:
                break
            headers = {"Range": f"bytes={have}-"} if have else {}
            try:
                with requests.get(
                    f"{source}/{jar.repository_path}", headers=headers, stream=True, timeout=30
                ) as answer:
                    answer.raise_for_status()
                    with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                        for chunk in answer.iter_content(CHUNK):
                            file.write(chunk)
            except requests.RequestException as error:
                last = str(error)
        if partial.exists() and partial.stat().st_size == jar.size:
            verify(jar, partial)
            partial.rename(folder / jar.file_name)
            return
        time.sleep(min(2.0**attempt, 10.0))
    raise PlatformError(
        f"{jar.coordinate}: not downloaded after {ATTEMPTS} attempts ({last}); run the command again to resume"
    )


def fetch(folder: Path, *, check_all: bool = False) -> list[Jar]:
    """Return all jars of the lock, downloading missing ones; ``check_all`` verifies the existing ones too."""
    jars = parse_lock(LOCK.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    if check_all:
        for jar in jars:
            if (folder / jar.file_name).exists():
                verify(jar, folder / jar.file_name)
    wanted = missing(jars, folder)
    total = sum(jar.size for jar in wanted)
    done = 0
    sources = repositories() if wanted else []
    for number, jar in enumerate(wanted, 1):
        print(f"[jars] {number}/{len(wanted)}  {done >> 20:3d} of {total >> 20} MB  {jar.coordinate}", flush=True)
        download(jar, folder, sources)
        done += jar.size
    return jars


def classpath(jars: Iterable[Jar], use: str, folder: Path) -> list[Path]:
    """Return the files of one use, sorted by name, so that the class path is the same on every machine."""
    return sorted(folder / jar.file_name for jar in jars if jar.use == use)


def write_lock() -> int:
    """Resolve the coordinates with all dependencies, write ``jars.lock`` and return the number of jars."""
    import jgo
    from jgo.maven import MavenContext

    context = MavenContext(timeout=60)
    artifacts = [("kafka", artifact) for artifact in jgo.resolve(KAFKA)]
    for coordinate in FLINK:
        group, name, version = coordinate.split(":")
        artifacts.append(("flink", context.project(group, name).at_version(version).artifact()))
    lines = []
    for use, artifact in artifacts:
        path = artifact.resolve()
        classifier = f":{artifact.classifier}" if artifact.classifier else ""
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}{classifier}"
        lines.append(f"{use} {coordinate} {sha256_of(path)} {path.stat().st_size}")
        print(f"[jars] locked {coordinate}", flush=True)
    LOCK.write_text(
        "# Made by `make jars-lock`: use, coordinate, SHA-256, bytes.\n" + "\n".join(sorted(lines)) + "\n"
    )
    return len(lines)


if __name__ == "__main__":
    print(f"[jars] {write_lock()} jars locked", file=sys.stderr)
