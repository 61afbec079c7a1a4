"""Both ports over TLS, with the certificate that the settings name."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from jobs.access import KeyRing
from jobs.console.service import build as build_console
from jobs.edge.service import build as build_edge
from jobs.runtime.serving import SERVER, tls_options
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import keys, texts
from tests.jobs.edge.edge_builders import KEY


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """PEM files of a certificate of this machine's loopback address, signed by itself, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@contextlib.contextmanager
def served(app: Any, settings: Settings) -> Iterator[int]:
    """Serve an application on a free port; yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, **SERVER, **tls_options(settings)))
    started = threading.Event()
    startup = server.startup

    async def note_startup(*args: Any, **more: Any) -> None:
        await startup(*args, **more)
        started.set()

    server.startup = note_startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.mark.parametrize("build", [build_edge, build_console], ids=["quote port", "operator port"])
def test_port_is_served_over_tls_alone(
    build: Any, certificate: tuple[Path, Path], redis_server: Any, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"redis": redis_server.url, "edge_secret": KEY, "home": tmp_path}
    settings = Settings(kafka="127.0.0.1:1", tls_certificate=certificate[0], tls_key=certificate[1], **values)
    app = build(settings, follow=False, ring=KeyRing(keys.values()))
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    with served(app, settings) as port:
        url = f"https://127.0.0.1:{port}"
        assert httpx.get(f"{url}/healthz", verify=trusted, trust_env=False).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        if build is build_console:
            reply = httpx.post(f"{url}/sign-in", data={"key": texts["reader"]}, verify=trusted, trust_env=False)
            cookie = reply.headers["set-cookie"]
            assert cookie.startswith("__Host-walras=") and "Secure" in cookie
