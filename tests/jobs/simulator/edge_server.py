"""A small HTTP server that replies as the edge service does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import orjson

from jobs.runtime.pseudonym import pseudonym


@contextmanager
def edge_server(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """Yield the server's URL and the list of requested paths; every quote has status ``status``."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            query = parse_qs(urlparse(self.path).query)
            body = orjson.dumps({
                "quote_id": f"q-{len(paths)}", "price_minor": 4242, "source": "table", "segment": "strategic",
                "arm": "base", "customer": pseudonym("key", query["customer"][0]),
            })  # fmt: skip
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Write no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
