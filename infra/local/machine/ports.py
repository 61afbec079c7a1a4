"""Ports on loopback: the usual one when it is free, else any free one."""

from __future__ import annotations

import socket
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now (a port in TIME_WAIT counts as free)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    """Whether something answers on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def pick_ports(usual: Mapping[str, int], before: Mapping[str, int] | None = None) -> dict[str, int]:
    """A port for every name: the one of the run before, else the usual one, else a free one.

    All answers differ. The probes stay open until the last one is found, so that the system does not
    give one port twice.

    >>> ports = pick_ports({"a": 0, "b": 0})
    >>> ports["a"] != ports["b"] and all(is_free(port) for port in ports.values())
    True
    """
    picked: dict[str, int] = {}
    probes = []
    try:
        for name, usual_port in usual.items():
            for port in ((before or {}).get(name, usual_port), usual_port, 0):
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
