"""The edge service with one more route, ``/bare``, whose constant response is the peer of a quote.

``python -m infra.reports.benchmarks.quote_port.edge_server --port P --redis URL [--kafka ADDRESS]``. ``/bare``
returns ``--size`` bytes with the same headers from the same server and event loop. Without ``--kafka`` the quotes
are logged to librdkafka's mock broker, so that the cost of encoding, queueing and sending is included.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import uvicorn

from jobs.access.keys import KeyRing, digest_of
from jobs.access.roles import Role
from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.service import build, tune_interpreter
from jobs.runtime.problems import Receive, Scope, Send
from jobs.runtime.serving import SERVER
from jobs.runtime.settings import Settings
from schemas.records.operator_events import AccessKey

BARE = "/bare"
KEY = "key of the benchmark's pseudonyms"
ACCESS_KEY = "key of the benchmark's shop"
SHOP = AccessKey("bench", 0, "", Role.QUOTES, "bench", digest_of(ACCESS_KEY), 1 << 62, None)
TEST_BROKER: dict[str, Any] = {"test.mock.num.brokers": 1}


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m infra.reports.benchmarks.quote_port.edge_server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--kafka", default="")
    parser.add_argument("--size", type=int, default=400)
    args = parser.parse_args(argv)
    values: dict[str, Any] = {"redis": args.redis, "edge_port": args.port, "edge_secret": KEY,
                              "edge_key_per_second": 10**6, "edge_address_per_second": 10**6}  # fmt: skip
    settings = Settings(kafka=args.kafka or "127.0.0.1:1", **values)
    quotes = QuoteLog(args.kafka) if args.kafka else QuoteLog("", **TEST_BROKER)
    edge = build(settings, follow=False, ring=KeyRing([SHOP]), quotes=quotes)
    body = b'{"constant":"' + b"x" * (args.size - 15) + b'"}'
    head = {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ],
    }  # fmt: skip
    tail = {"type": "http.response.body", "body": body}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == BARE:
            await send(head)
            await send(tail)
        else:
            await edge(scope, receive, send)

    tune_interpreter()
    uvicorn.run(app, host=settings.edge_host, port=args.port, **SERVER)


if __name__ == "__main__":
    main()
