"""Repricing requests: which listings are to be repriced, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.causes import Cause


class RepricingRequest(NamedTuple):
    """Why a listing is to be repriced: the cause, and plain values that describe it."""

    cause: Cause
    detail: dict[str, Any]


class RepricingRequests(dict[str, RepricingRequest]):
    """At most one request per listing key; the first one stands unless :meth:`replace` is used.

    >>> requests = RepricingRequests()
    >>> requests.add("acme/web/s1", Cause.STOCK_OUT, {"on_hand": 0})
    >>> requests.add("acme/web/s1", Cause.BELIEFS_MOVED, {})
    >>> requests["acme/web/s1"].cause.value
    'STOCK_OUT'
    """

    def add(self, key: str, cause: Cause, detail: dict[str, Any]) -> None:
        """Request a repricing unless one is requested already."""
        self.setdefault(key, RepricingRequest(cause, detail))

    def replace(self, key: str, cause: Cause, detail: dict[str, Any]) -> None:
        """Request a repricing with this cause, whatever was requested before."""
        self[key] = RepricingRequest(cause, detail)
