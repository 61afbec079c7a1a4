"""CommandHandler: carries out one kind of operator command for the listings of one bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from features.books.demand import DemandBook
from features.bucket_logic import Output
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.control import Control, covers, scope_of
from jobs.pricing.bucket.decider import Decider, Trigger
from jobs.pricing.bucket.listing.listing_state import ListingState
from jobs.pricing.bucket.requests import RepricingRequest
from jobs.pricing.policies import PolicyBook
from schemas.causes import Cause
from schemas.listings import Listing
from schemas.records.operator_events import Command


@dataclass(frozen=True, slots=True)
class CommandContext:
    """A command, and the parts of the bucket that it acts on."""

    command: Command
    trigger: Trigger
    bucket: BucketState
    book: DemandBook
    control: Control
    decider: Decider
    policies: PolicyBook

    @property
    def covered(self) -> list[str]:
        """Keys of the bucket's listings in the command's scope."""
        scope = scope_of(self.command)
        return [key for key in self.bucket.index if covers(scope, Listing.parse(key))]

    def state(self, key: str) -> ListingState:
        """Return a listing's state."""
        return self.bucket.states[key]

    def members(self, key: str) -> list[str]:
        """Return the listings that are decided together with a listing, itself included."""
        return self.decider.members_of(key)

    def reprice(
        self,
        keys: Iterable[str],
        cause: Cause = Cause.COMMAND,
        *,
        approved: Mapping[str, int] | None = None,
        **detail: Any,
    ) -> list[Output]:
        """Reprice listings with the command as cause.

        Parameters
        ----------
        approved : listing key → the price that the operator set or approved.
        detail : added to the cause's detail.
        """
        command = self.command
        who = {"command": command.kind, "operator": command.operator, "reason": command.reason}
        requests = {key: RepricingRequest(cause, who | detail) for key in keys}
        return self.decider.decide_all(requests, self.trigger, approved)


def refusal_of(command: Command, problem: str) -> Output:
    """Return the record of a command that is not carried out.

    >>> refusal_of(Command("c1", 5, "acme", "settle", "ann"), "role: …").value["problem"]
    'role: …'
    """
    value = {
        "command_id": command.event_id,
        "event_time_ms": command.event_time_ms,
        "tenant": command.tenant,
        "kind": command.kind,
        "operator": command.operator,
        "problem": problem,
    }
    return Output("refused_commands", command.event_id, value, command.event_time_ms)


class Argument(NamedTuple):
    """One argument of a command on the command line.

    Parameters
    ----------
    name : field of :class:`schemas.records.operator_events.Command`; ``amount`` sets ``price_minor`` from a price
        and a currency.
    kind : ``text``, ``integer``, ``until`` (a time or a duration) or ``amount``.
    option : whether it is an option; an option without ``required`` may be left out.
    """

    name: str
    help: str
    kind: Literal["text", "integer", "until", "amount"] = "text"
    option: bool = False
    required: bool = True


UNTIL_HELP = "90m, 2h, 3d of run time, or an ISO date"


class CommandHandler(ABC):
    """One kind of command. See the package for how to add one.

    Attributes
    ----------
    kind : its value in the `commands` topic, one of :class:`schemas.records.operator_events.CommandKind`.
    text : what the operator did, in words for pricing managers.
    help : what ``walras <kind>`` does; empty: no such command.
    scope : what it applies to: a tenant, any target, or one listing. A command for one listing without market and
        SKU is refused.
    decides : whether it reprices listings at once.
    arguments : further arguments on the command line.
    """

    kind: ClassVar[str]
    text: ClassVar[str]
    help: ClassVar[str] = ""
    scope: ClassVar[Literal["tenant", "target", "listing"]] = "listing"
    decides: ClassVar[bool] = True
    arguments: ClassVar[tuple[Argument, ...]] = ()

    def problem(self, command: Command) -> str:
        """Return what is missing for a command of this kind to be carried out; empty: nothing."""
        if self.scope != "listing" or (command.market and command.sku):
            return ""
        given = f"tenant {command.tenant!r}, market {command.market!r}, SKU {command.sku!r}"
        return f"target: expected one listing, by market and SKU, for {self.kind}; got {given}"

    @abstractmethod
    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Carry the command out; return decisions and tables, or why it cannot be carried out."""
