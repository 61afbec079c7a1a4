"""What a platform's status may show."""

from __future__ import annotations

from infra.local.status import status_text, without_password


def test_status_shows_no_password() -> None:
    address = without_password("redis://user:secret@127.0.0.1:6379/0")
    status = {
        "up": True,
        "parts": {},
        "jobs": {},
        "memory_mb": 1,
        "ports": {},
        "addresses": {"WALRAS_REDIS": address},
    }
    assert "secret" not in status_text(status) and "user:***@127.0.0.1" in status_text(status)
