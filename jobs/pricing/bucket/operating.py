"""Operator: what people command, for the listings of one bucket that a command covers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from features.bucket_logic import Output
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.control import Control, covers, scope_of
from jobs.pricing.bucket.decider import Decider
from jobs.pricing.bucket.listing_state import ListingState
from schemas.codes import Cause
from schemas.events import Command, CommandKind, Listing


class Operator:
    """Carries out commands; keeps no state of its own."""

    def __init__(self, bucket: BucketState, control: Control, decider: Decider) -> None:
        self._bucket, self._control, self._decider = bucket, control, decider

    def obey(self, command: Command, address: str, at_ms: int, now_ms: int) -> list[Output]:
        """An operator's word, for the listings of this bucket that it covers."""
        covered = [key for key in self._bucket.index if covers(scope_of(command), Listing.parse(key))]
        detail = {"command": command.kind, "operator": command.operator, "reason": command.reason}
        outputs: list[Output] = []
        match CommandKind(command.kind):
            case CommandKind.FREEZE:
                self._control.freeze(command)
            case CommandKind.UNFREEZE:
                self._control.unfreeze(command)
            case CommandKind.KILL_SWITCH:
                self._control.freeze(command, kill=True)
            case CommandKind.RESUME:
                self._control.unfreeze(command, kill=True)
            case CommandKind.SETTLE:
                for key in covered:
                    outputs += self._decider.decide(key, Cause.SETTLE, detail, address, at_ms, now_ms)
            case CommandKind.SALE_TARGET:
                for key in covered:
                    set_off = command.units is None or command.until_ms is None or command.until_ms <= at_ms
                    target = None if set_off else [command.units, at_ms, command.until_ms]
                    self._bucket.states[key].target = target  # type: ignore[assignment]
                    outputs += self._decider.decide(
                        key, Cause.COMMAND, detail | {"units": command.units}, address, at_ms, now_ms
                    )
            case CommandKind.MANUAL_PRICE if command.price_minor is not None:
                for key in covered:
                    listing = Listing.parse(key)
                    outputs += self._decider.decide(
                        key, Cause.COMMAND, detail, address, at_ms, now_ms, approved_minor=command.price_minor
                    )
                    pinned = replace(command, market=listing.market, sku=listing.sku)
                    self._control.freeze(pinned, text=f"price set by {command.operator}")
            case CommandKind.ROLLBACK:
                for key in covered:
                    price = self._price_before(self._bucket.states[key], command.version)
                    if price is not None:
                        outputs += self._decider.decide(
                            key, Cause.COMMAND, detail, address, at_ms, now_ms, approved_minor=price
                        )
            case CommandKind.APPROVE | CommandKind.REJECT:
                for key in self._bucket.index:
                    pending = self._bucket.states[key].pending
                    if pending and pending["decision_id"] == command.decision_id:
                        outputs += self._answer(key, command, detail, address, at_ms, now_ms)
            case _:
                pass  # `policy` takes effect by configuration and restart; it is recorded in its own topic
        return outputs

    def _answer(
        self, key: str, command: Command, detail: dict[str, Any], address: str, at_ms: int, now_ms: int
    ) -> list[Output]:
        """An operator's answer to a decision that asked."""
        state = self._bucket.states[key]
        pending, state.pending = state.pending or {}, None
        detail = detail | {"decision_id": pending["decision_id"]}
        if command.kind == CommandKind.REJECT or at_ms > pending["until_ms"]:
            state.continue_at_ms = None
            return []
        if pending["what"] == "cost":
            state.trusted_cost_minor, state.odd_cost = self._bucket.catalog[key].cost_minor, None
            return self._decider.decide(key, Cause.COMMAND, detail, address, at_ms, now_ms)
        return self._decider.decide(
            key, Cause.COMMAND, detail, address, at_ms, now_ms, approved_minor=pending["price_minor"]
        )

    @staticmethod
    def _price_before(state: ListingState, version: int | None) -> int | None:
        """The default price of a version, or of the table before the present one."""
        if version is not None:
            return next((price for v, price in state.history if v == version), None)
        return state.history[-2][1] if len(state.history) > 1 else None
