"""Routes of the console's page, and the JSON that it polls.

    GET /                                                    the page
    GET /v1/console/summary                                  the page's data
    GET /v1/listings                                         keys of every listing with a table
    GET /v1/listings/{tenant}/{market}/{sku}/evidence        a listing's evidence points
    GET /v1/listings/{tenant}/{market}/{sku}/explain         explanation of the price

A key of one tenant sees that tenant alone; another tenant's listing is not found.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from jobs.access import Permission, Principal
from jobs.audit.explanation import explain_price, explanation_text
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.console.market_view import MarketView, with_text
from jobs.console.rule_statistics import RuleStatistics
from jobs.console.sign_in import required
from jobs.monitoring.component import ComponentHealth
from jobs.monitoring.health import component_health
from jobs.policies.documents import ScopeHistory, changes_text, scope_text
from jobs.runtime.settings import Settings
from schemas.listings import Listing

HEALTH_EVERY_S, HEALTH_WAIT_S = 3.0, 0.5
PAGE = Path(__file__).with_name("page.html")

Reader = Annotated[Principal, Depends(required(Permission.READ))]
Analyst = Annotated[Principal, Depends(required(Permission.ANALYSE))]


class HealthReport:
    """The components' health for all readers, checked in a thread: a component that hangs delays no reply."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._tables = settings, RedisPriceTables(settings.redis.get_secret_value())
        self._known: list[ComponentHealth] = []
        self._checked_s = float("-inf")
        self._checking: asyncio.Task[list[ComponentHealth]] | None = None

    async def latest(self) -> list[ComponentHealth]:
        """Return the newest result; wait at most :data:`HEALTH_WAIT_S` for one that is due."""
        if self._checking is None and time.monotonic() - self._checked_s > HEALTH_EVERY_S:
            self._checking = asyncio.create_task(asyncio.to_thread(component_health, self._settings, self._tables))
        if self._checking is not None:
            done, _ = await asyncio.wait({self._checking}, timeout=HEALTH_WAIT_S)
            for checked in done:
                self._checking, self._checked_s = None, time.monotonic()
                self._known = checked.result()
        return self._known


def page_routes(view: MarketView, settings: Settings) -> APIRouter:
    """Return the page's routes over one followed view."""
    page = PAGE.read_text(encoding="utf-8")
    rules, health = RuleStatistics(view), HealthReport(settings)
    routes = APIRouter()

    @routes.get("/", include_in_schema=False)
    async def index(who: Reader) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": CSP, "cache-control": "no-cache"})

    @routes.get("/v1/console/summary")
    async def summary(who: Reader) -> dict[str, Any]:
        """Return the page's data: price changes, and for analysts evidence, decisions, policies and rules."""
        clock, prices_only = settings.run_clock, not who.may(Permission.ANALYSE)
        history = view.policy_history(who.tenant)
        return view.summary(who.tenant, prices_only=prices_only) | {
            "rules": {} if prices_only else await rules.of(who.tenant),
            "policies": [] if prices_only else policies_data(history, clock.now_ms()),
            "health": [component._asdict() for component in await health.latest()],
            "now_ms": clock.now_ms(),
            "speed": clock.speed,
        }

    @routes.get("/v1/listings")
    async def listings(who: Reader) -> list[str]:
        """Return the keys of every listing with a table."""
        return view.listings(who.tenant)

    base = "/v1/listings/{tenant}/{market}/{sku:path}"

    @routes.get(base + "/evidence")
    async def evidence(who: Analyst, tenant: str, market: str, sku: str) -> list[dict[str, Any]]:
        """Return a listing's evidence points, oldest first."""
        return [with_text(point) for point in view.evidence(_listing(who, tenant, market, sku))]

    @routes.get(base + "/explain")
    async def why(request: Request, who: Analyst, tenant: str, market: str, sku: str) -> Response:
        """Explain a listing's price; as text where the browser asks for a page."""
        listing = _listing(who, tenant, market, sku)
        explanation = explain_price(
            listing, view.last_decision(listing), view.table(listing), view.learned(listing), view.policies
        )
        status = 404 if "price" not in explanation and explanation["decision"] is None else 200
        if "text/html" in request.headers.get("accept", ""):
            return PlainTextResponse(explanation_text(explanation), status)
        return Response(orjson.dumps(explanation), status, media_type="application/json")

    return routes


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


def _listing(who: Principal, tenant: str, market: str, sku: str) -> str:
    """Return a listing's key; another tenant's is not found."""
    if not who.sees(tenant):
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such listing")
    return Listing(tenant, market, sku).key
