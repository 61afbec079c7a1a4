"""Choose ports on loopback: the default port when it is free, otherwise any free one."""

from __future__ import annotations

import socket
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now (a port in TIME_WAIT counts as free)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    """Return whether the port accepts connections."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def pick_ports(defaults: Mapping[str, int], previous: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return a port for every name: that of the previous run, else the default one, else any free one.

    All returned ports differ. The probes stay open until the last port is found, so that the system does not
    return one port twice.

    >>> ports = pick_ports({"a": 0, "b": 0})
    >>> ports["a"] != ports["b"] and all(is_free(port) for port in ports.values())
    True
    """
    picked: dict[str, int] = {}
    probes = []
    try:
        for name, default_port in defaults.items():
            for port in ((previous or {}).get(name, default_port), default_port, 0):
                if port in picked.values():
                    continue
                probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError:
                    probe.close()
                    continue
                probes.append(probe)
                picked[name] = int(probe.getsockname()[1])
                break
            else:
                raise OSError(f"no free port on {LOOPBACK} for {name}")
    finally:
        for probe in probes:
            probe.close()
    return picked
