"""Routes of the console: the page, and the JSON that it polls.

    GET /                                                    the page
    GET /v1/console/summary                                  the page's data
    GET /v1/listings                                         keys of every listing with a table
    GET /v1/listings/{tenant}/{market}/{sku}/evidence        a listing's evidence points
    GET /v1/listings/{tenant}/{market}/{sku}/explain         explanation of the price

These routes are for operators, not for shoppers: a public proxy in front of an edge passes ``/v1/quotes/`` alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from jobs.audit.explanation import explain_price, explanation_text
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.console.market_view import MarketView, with_text
from jobs.monitoring.health import ComponentHealth, component_health
from jobs.policies.documents import ScopeHistory, changes_text, scope_text
from jobs.runtime.settings import Settings
from schemas.events import Listing

HEALTH_EVERY_S = 3.0
PAGE = Path(__file__).with_name("page.html")


def console_routes(view: MarketView, settings: Settings, edge: Callable[[], ComponentHealth]) -> list[BaseRoute]:
    """Return the console's routes over one followed view; ``edge`` returns the health of the serving edge."""
    page = PAGE.read_text(encoding="utf-8")
    tables = RedisPriceTables(settings.redis.get_secret_value())
    known: tuple[float, list[ComponentHealth]] = (float("-inf"), [])
    asking = asyncio.Lock()

    async def health() -> list[ComponentHealth]:
        # Checked once for all readers and never on the event loop: a component that hangs must not stop quotes.
        nonlocal known
        async with asking:
            if time.monotonic() - known[0] > HEALTH_EVERY_S:
                found = await asyncio.to_thread(component_health, settings, tables, with_edge=False)
                known = (time.monotonic(), [*found, edge()])
        return known[1]

    async def index(request: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": CSP, "cache-control": "no-cache"})

    async def summary(request: Request) -> Response:
        clock = settings.run_clock
        return _json(
            view.summary()
            | {
                "policies": policies_data(view.policy_history(), clock.now_ms()),
                "health": [component._asdict() for component in await health()],
                "now_ms": clock.now_ms(),
                "speed": clock.speed,
            }
        )

    async def listings(request: Request) -> Response:
        return _json(view.listings())

    async def evidence(request: Request) -> Response:
        return _json([with_text(point) for point in view.evidence(_listing(request))])

    async def why(request: Request) -> Response:
        listing = _listing(request)
        explanation = explain_price(
            listing, view.last_decision(listing), view.table(listing), view.learned(listing), view.policies
        )
        status = 404 if "price" not in explanation and explanation["decision"] is None else 200
        if "text/html" in request.headers.get("accept", ""):
            return PlainTextResponse(explanation_text(explanation), status)
        return _json(explanation, status)

    base = "/v1/listings/{tenant}/{market}/{sku:path}"
    return [
        Route("/", index),
        Route("/v1/console/summary", summary),
        Route("/v1/listings", listings),
        Route(base + "/evidence", evidence),
        Route(base + "/explain", why),
    ]


CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)
"""No external resources; values from Kafka are inserted as text, never as markup."""


def policies_data(history: ScopeHistory, at_ms: int) -> list[dict[str, Any]]:
    """Return the page's rows about policies: scopes in force, then pending and refused patches.

    Each row has ``state`` (``in force``, ``pending`` or ``refused``), ``scope``, ``what``, ``from_ms``,
    ``operator`` and ``reason``; a refused patch's reason is followed by what is wrong with it.
    """
    found = history.overview(at_ms)
    rows = [
        {
            "state": "in force",
            "scope": each.scope,
            "what": ", ".join(f"{key}={value}" for key, value in each.values.items()),
            "from_ms": each.since_ms,
            "operator": each.operator,
            "reason": each.reason,
        }
        for each in found.scopes
    ]
    for state, records in (("pending", found.pending), ("refused", found.refused)):
        rows += [
            {
                "state": state,
                "scope": scope_text(each),
                "what": changes_text(each),
                "from_ms": each.from_ms,
                "operator": each.operator,
                "reason": f"{each.reason}: {each.problem}" if each.problem else each.reason,
            }
            for each in records
        ]
    return rows


def _listing(request: Request) -> str:
    at = request.path_params
    return Listing.key_in(at)


def _json(value: Any, status: int = 200) -> Response:
    return Response(
        orjson.dumps(value), status, media_type="application/json", headers={"cache-control": "no-store"}
    )
