"""The jar that binds Beam's servers to loopback."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from infra.local.config import Layout, flink_home, link_flink_jars
from infra.local.errors import PlatformError
from infra.local.machine.loopback import CLASS, JAR, bind_to_address, write_loopback_jar


@pytest.fixture(scope="module")
def flink_python() -> Path:
    [jar] = (flink_home() / "opt").glob("flink-python-*.jar")
    return jar


@pytest.fixture(scope="module")
def original(flink_python: Path) -> bytes:
    with zipfile.ZipFile(flink_python) as wheel:
        return wheel.read(CLASS)


def test_changed_class_passes_the_address_to_grpc(original: bytes) -> None:
    changed = bind_to_address(original)
    assert b"forAddress" not in original
    assert (
        b"\x00\x0aforAddress" in changed and b"(Ljava/net/SocketAddress;)Lorg/apache/beam/vendor/grpc" in changed
    )


def test_changed_class_is_refused(original: bytes) -> None:
    with pytest.raises(ValueError, match="expected one call of forPort"):
        bind_to_address(bind_to_address(original))


def test_jar_without_the_class_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "flink-python.jar"
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(PlatformError, match=r"flink-python\.jar: expected the class .*ServerFactory"):
        write_loopback_jar(empty, tmp_path)


def test_invalid_class_file_is_refused(tmp_path: Path) -> None:
    jar = tmp_path / "flink-python.jar"
    with zipfile.ZipFile(jar, "w") as out:
        out.writestr(CLASS, b"\xca\xfe")
    with pytest.raises(PlatformError, match="not the locked version"):
        write_loopback_jar(jar, tmp_path)


def test_jar_is_first_on_the_class_path_of_flink(tmp_path: Path) -> None:
    layout = Layout(tmp_path, jars=tmp_path / "jars")
    link_flink_jars(layout, [])
    assert min(path.name for path in layout.flink_lib.iterdir()) == JAR
