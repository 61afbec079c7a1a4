"""Builders of tests of one bucket: a logic with a listing, and senders of facts to it."""

from __future__ import annotations

from typing import Any

from features.bucket_logic import Batch, Output
from jobs.pricing.bucket.listing.listing_state import ROW
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.commands import HANDLER_OF
from jobs.pricing.policy import Policy
from schemas.records.counts import Cell
from schemas.records.operator_events import Command
from schemas.records.results import Estimate
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact, an_offer, of_stream

KEY = "acme/web-us-usd/s1"
DAY_MS = 86_400_000
NOON_MS = START_MS + DAY_MS // 2
"""Event time of the last batch of :func:`a_running_logic`."""


def a_running_logic(policy: Policy | None = None, **entry: Any) -> tuple[RepricingLogic, list[Output]]:
    """Return a logic with one listing whose first table is half a day old, and its outputs so far.

    Parameters
    ----------
    entry : changes of the listing's catalog entry.
    """
    logic = RepricingLogic(policy)
    first = Batch(0, START_MS + MINUTE_MS, catalog=(a_catalog_entry(**entry),), now_ms=START_MS + MINUTE_MS)
    outputs = list(logic.on_batch(first))
    return logic, outputs + list(logic.on_batch(Batch(0, NOON_MS, now_ms=NOON_MS)))


def a_command(kind: str, **more: Any) -> Command:
    """Return a command of operator ann of tenant acme; of a kind for one listing, for s1 by default."""
    listing = {"market": "web-us-usd", "sku": "s1"} if HANDLER_OF[kind].scope == "listing" else {}
    return Command("cmd", NOON_MS + 1000, "acme", kind, "ann", **(listing | more))


def an_estimate(
    mean: float, sd: float = 0.05, at_ms: int = START_MS + MINUTE_MS, sku: str = "s1", **extra: float
) -> Estimate:
    """Return an own-price elasticity of one listing."""
    return Estimate(
        "listing", "acme", "web-us-usd", sku, sku, "own_price_elasticity", "all", mean, sd, 500, mean, sd, 30,
        "sufficient", at_ms, extra,
    )  # fmt: skip


def a_cell(price_minor: int, exposures: int, orders: int = 0, units: int = 0, sku: str = "s1") -> Cell:
    """Return one price's counts of a minute."""
    counts = {"exposures": exposures, "orders": orders, "units": units}
    return Cell("acme", "web-us-usd", sku, sku, "base", "all", price_minor, "USD", **counts)


def decision_of(outputs: list[Output]) -> dict[str, Any]:
    """Return the one decision of some outputs."""
    decisions = list(of_stream(outputs, "decisions"))
    assert len(decisions) == 1, [d["cause"] for d in decisions]
    return decisions[0]


def price_of(outputs: list[Output]) -> int:
    """Return the main price of the last table of some outputs."""
    return int(list(of_stream(outputs, "tables"))[-1]["default_minor"])


def state_value(logic: RepricingLogic, name: str) -> Any:
    """Return one value of the snapshot of a logic's only listing."""
    [row] = logic.snapshot()["bucket"]["states"]
    return row[ROW.index(name)]


class FactSender:
    """Sends facts to a logic: each has the next offset, and comes a second after the one before it."""

    def __init__(self, logic: RepricingLogic) -> None:
        self.logic, self.offset, self.at_ms = logic, 0, NOON_MS + 1000

    def send(self, kind: str, value: Any, later_ms: int = 1000) -> list[Output]:
        """Send a fact; return the logic's outputs."""
        self.offset += 1
        self.at_ms += later_ms
        return list(self.logic.on_fact(a_fact(kind, value, self.at_ms, self.offset)))

    def command(self, kind: str, **more: Any) -> list[Output]:
        """Send a command; return the logic's outputs."""
        return self.send("commands", a_command(kind, **more))


class RivalFeed:
    """Sends one rival's offers to a logic, each as a fact or in its minute's batch; the first is at 131.38."""

    def __init__(self, *, as_facts: bool = True) -> None:
        self.logic, _ = a_running_logic(cost_minor=8000, list_minor=12999)
        self.as_facts, self.offset, self.at_ms = as_facts, 0, NOON_MS
        self.send(13138)

    def send(self, price_minor: int, **changes: Any) -> list[Output]:
        """Send an offer of the next minute; return the logic's outputs."""
        self.offset += 1
        self.at_ms += MINUTE_MS
        offer = an_offer(price_minor, self.at_ms - 1, **changes)
        if self.as_facts:
            return list(self.logic.on_fact(a_fact("offers", offer, self.at_ms - 1, self.offset)))
        return list(self.logic.on_batch(Batch(0, self.at_ms, offers=(offer,), now_ms=self.at_ms)))

    def requests(self, price_minor: int, **changes: Any) -> bool:
        """Send an offer; return whether it requested a repricing."""
        return bool(list(of_stream(self.send(price_minor, **changes), "decisions")))

    @property
    def start_mass(self) -> float:
        """The start mass that facts added to the watcher for the next minute."""
        return float(sum(self.logic.snapshot()["watch"]["watcher"]["facts"]["columns"]["waiting"]))
