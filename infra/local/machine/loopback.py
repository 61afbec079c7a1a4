"""Write a jar that makes Flink's Python runner listen on the loopback address alone (decision 46).

Beam's ``ServerFactory`` computes a loopback address but passes only its port to gRPC
(``NettyServerBuilder.forPort``), and so listens on every interface. No option changes that. This module copies the
class from the wheel's flink-python jar, replaces the call by ``NettyServerBuilder.forAddress`` with the whole
address, and writes the class into a jar that precedes flink-python on Flink's class path.

The class is changed as bytes, since a Java compiler is not a requirement of Walras: four constants are added to
its constant pool, and one instruction sequence is replaced by one of equal length. A class of another form is
refused.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from infra.local.errors import PlatformError

CLASS = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
JAR = "00-walras-loopback.jar"
"""Name of the jar; Flink's scripts sort the jars of the lib folder by name."""

_UTF8, _CLASS, _METHOD, _NAME_AND_TYPE = 1, 7, 10, 12
_SIZES = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    _CLASS: 2,
    8: 2,
    9: 4,
    _METHOD: 4,
    11: 4,
    _NAME_AND_TYPE: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
}
"""Bytes of a constant's content by its tag (JVM specification, § 4.4); text constants state their own length."""
_ALOAD_1, _NOP, _INVOKEVIRTUAL, _INVOKESTATIC = b"\x2b", b"\x00", b"\xb6", b"\xb8"


def write_loopback_jar(flink_python: Path, folder: Path) -> Path:
    """Write the jar into ``folder`` and return its path.

    Raises
    ------
    PlatformError
        If the class in ``flink_python`` is missing or has another form.
    """
    jar = folder / JAR
    with zipfile.ZipFile(flink_python) as wheel:
        try:
            original = wheel.read(CLASS)
        except KeyError as error:
            raise PlatformError(f"{flink_python}: expected the class {CLASS}, found none") from error
    try:
        changed = bind_to_address(original)
    except (ValueError, struct.error) as error:
        raise PlatformError(
            f"{flink_python}: {CLASS} cannot be bound to loopback: {error}; this Flink is not the locked version"
        ) from error
    with zipfile.ZipFile(jar, "w") as out:
        out.writestr(zipfile.ZipInfo(CLASS), changed)
    return jar


def bind_to_address(code: bytes) -> bytes:
    """Return the class with ``forAddress(address)`` in place of ``forPort(address.getPort())``.

    Raises
    ------
    ValueError
        If the class does not contain that call exactly once.
    """
    pool = _Pool(code)
    get_port = pool.method("java/net/InetSocketAddress", "getPort")
    for_port = pool.method("NettyServerBuilder", "forPort")
    builder = pool.owner(for_port)
    added = b"".join((
        _text("forAddress"),
        _text(f"(Ljava/net/SocketAddress;)L{builder};"),
        struct.pack(">BHH", _NAME_AND_TYPE, pool.count, pool.count + 1),
        struct.pack(">BHH", _METHOD, struct.unpack_from(">H", pool.content[for_port])[0], pool.count + 2),
    ))  # fmt: skip
    for_address = pool.count + 3
    old = _ALOAD_1 + _INVOKEVIRTUAL + struct.pack(">H", get_port) + _INVOKESTATIC + struct.pack(">H", for_port)
    new = _ALOAD_1 + _NOP * 3 + _INVOKESTATIC + struct.pack(">H", for_address)
    body = code[pool.end :]
    if body.count(old) != 1:
        raise ValueError(f"expected one call of forPort with the address' port, found {body.count(old)}")
    count = struct.pack(">H", pool.count + 4)
    return code[:8] + count + code[10 : pool.end] + added + body.replace(old, new)


def _text(value: str) -> bytes:
    return struct.pack(">BH", _UTF8, len(value.encode())) + value.encode()


class _Pool:
    """Constant pool of a class file: tag and content by index, the stated count, and the end of the pool."""

    def __init__(self, code: bytes) -> None:
        magic, self.count = struct.unpack_from(">I4xH", code)
        if magic != 0xCAFEBABE:
            raise ValueError("expected a class file")
        self.tag: dict[int, int] = {}
        self.content: dict[int, bytes] = {}
        at, index = 10, 1
        while index < self.count:
            tag = code[at]
            if tag != _UTF8 and tag not in _SIZES:
                raise ValueError(f"expected a known kind of constant, got {tag}")
            size = 2 + struct.unpack_from(">H", code, at + 1)[0] if tag == _UTF8 else _SIZES[tag]
            self.tag[index], self.content[index] = tag, code[at + 1 : at + 1 + size]
            at += 1 + size
            index += 2 if tag in (5, 6) else 1  # eight-byte numbers occupy two indices
        self.end = at

    def text(self, index: int) -> str:
        """Return a text constant, or the name of a class constant."""
        if self.tag[index] == _CLASS:
            return self.text(struct.unpack(">H", self.content[index])[0])
        return self.content[index][2:].decode()

    def owner(self, method: int) -> str:
        """Return the name of the class that a method belongs to."""
        return self.text(struct.unpack_from(">H", self.content[method])[0])

    def method(self, owner: str, name: str) -> int:
        """Return the index of the only method of that name whose class name ends with ``owner``."""
        found = [
            index
            for index, tag in self.tag.items()
            if tag == _METHOD and self.owner(index).endswith(owner) and self._name(index) == name
        ]
        if len(found) != 1:
            raise ValueError(f"expected one method {owner}.{name}, found {len(found)}")
        return found[0]

    def _name(self, method: int) -> str:
        described = struct.unpack_from(">2xH", self.content[method])[0]
        return self.text(struct.unpack_from(">H", self.content[described])[0])
