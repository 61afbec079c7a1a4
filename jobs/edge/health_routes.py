"""Health of an edge over HTTP.

::

    GET /healthz    liveness: the process answers
    GET /readyz     readiness: 200, or 503 and what is missing
    GET /metrics    Prometheus, for keys that may read and see every tenant

The first two answer without a key with the status alone. A key that may read and sees every tenant also gets the
counters of ``/healthz``, which are of the whole run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobs.access import KeyRing
from jobs.edge.admission.access import QuoteAccess
from jobs.edge.problems import reply_with
from jobs.runtime.problems import Problem


class SharedCheck:
    """A check whose result all callers of a second share, so that their number does not matter to what it reads.

    Parameters
    ----------
    check : returns whether all is well.
    keep_s : seconds for which a result is kept.
    monotonic : clock of that duration.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[bool]],
        keep_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check, self._keep_s, self._monotonic = check, keep_s, monotonic
        self._running: asyncio.Task[bool] | None = None
        self._found, self._until = False, float("-inf")

    async def __call__(self) -> bool:
        """Return the result of the last second, or of a new check."""
        if self._running is None:
            if self._monotonic() < self._until:
                return self._found
            self._running = asyncio.create_task(self._run())
        # A caller that goes away ends no check that others wait for.
        return await asyncio.shield(self._running)

    async def _run(self) -> bool:
        try:
            self._found = await self._check()
            self._until = self._monotonic() + self._keep_s
            return self._found
        finally:
            self._running = None


class HealthRoutes:
    """The handlers of health and metrics.

    Parameters
    ----------
    access : checks keys.
    ring : the deployment's keys.
    redis_ready : whether Redis answers and is ready.
    details : returns the counters of ``/healthz``.
    metrics : returns the text of ``/metrics``.
    """

    def __init__(
        self,
        access: QuoteAccess,
        ring: KeyRing,
        redis_ready: Callable[[], Awaitable[bool]],
        details: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], bytes],
    ) -> None:
        self._access, self._ring, self._redis_ready = access, ring, redis_ready
        self._details, self._metrics = details, metrics

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/healthz", self.healthz), Route("/readyz", self.readyz), Route("/metrics", self.prometheus),
        ]  # fmt: skip

    async def healthz(self, request: Request) -> Response:
        """Say that the process answers."""
        hidden = self._access.refusal_of_whole_run(request.scope) is not None
        return json_reply({"status": "ok", **({} if hidden else self._details())})

    async def readyz(self, request: Request) -> Response:
        """Say whether quotes can be answered."""
        status = "ok"
        if not await self._redis_ready():
            status = "Redis does not answer or lacks its ready epoch: run `walras rebuild-redis`"
        elif not self._ring.generation:
            status = (
                "no access key is known: they have not been read from Kafka yet, and the state folder has no "
                "run/keys/ring.json whose records WALRAS_COMMAND_KEY verifies"
            )
        return json_reply({"status": status}, 200 if status == "ok" else 503)

    async def prometheus(self, request: Request) -> Response:
        """Return the metrics."""
        refused = self._access.refusal_of_whole_run(request.scope)
        if refused is not None:
            more = {"www-authenticate": "Bearer"} if refused[0] == 401 else {}
            return reply_with(request, Problem.of_status(*refused), more)
        return Response(self._metrics(), media_type=None, headers={"content-type": CONTENT_TYPE_LATEST})


def json_reply(value: Any, status: int = 200) -> Response:
    """Return a reply with a value as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")
