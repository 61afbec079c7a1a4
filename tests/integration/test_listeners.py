"""Every process of a run listens on the loopback address only (decision 46)."""

from __future__ import annotations

import contextlib
import ipaddress

import psutil
import pytest

from infra.local.platform import Platform
from infra.local.supervision import processes_of
from jobs.runtime.settings import Settings

pytestmark = pytest.mark.platform


def listeners(platform: Platform) -> dict[str, set[str]]:
    """Return the addresses on which each process of a run listens, by its name and id."""
    # By mark and by parent process, since Redis overwrites the environment that contains the mark.
    processes = {process.pid: process for process in processes_of(platform.layout.home)}
    for part in platform.supervision.states():
        processes |= {pid: psutil.Process(pid) for pid in platform.pids(part)}
    found: dict[str, set[str]] = {}
    for process in processes.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            addresses = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
            if addresses:
                found[f"{process.name()} {process.pid}"] = addresses
    return found


def is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def test_every_process_listens_on_loopback_only(running_jobs: Settings, local_platform: Platform) -> None:
    local_platform.start("edge")
    try:
        found = listeners(local_platform)
    finally:
        local_platform.stop("edge")
    names = " ".join(found)
    assert names.count("java") == 4  # broker, job manager, two task managers
    assert "redis-server" in names and "python" in names
    assert {name: ips for name, ips in found.items() if not all(map(is_loopback, ips))} == {}
