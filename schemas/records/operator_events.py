"""Records of operators and checkouts: commands and their effects, access keys, redemptions of price locks.

The conventions are those of :mod:`schemas.events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CommandKind(StrEnum):
    """Command of an operator."""

    APPROVE = "approve"
    REJECT = "reject"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    MANUAL_PRICE = "manual_price"
    SALE_TARGET = "sale_target"
    POLICY = "policy"
    SETTLE = "settle"
    ROLLBACK = "rollback"
    KILL_SWITCH = "kill_switch"
    RESUME = "resume"


class RedemptionKind(StrEnum):
    """Kind of a record of `redemptions`: a lock used up, or the start of an epoch."""

    REDEEMED = "redeemed"
    EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of an operator. Without ``market`` or ``sku`` it applies to all of them.

    ``price_minor`` belongs to manual_price, ``units`` and ``until_ms`` to sale_target, ``until_ms`` to freeze,
    ``decision_id`` to approve and reject, ``version`` to rollback. ``selection``, ``changes``, ``from_ms`` and
    ``replaces`` belong to policy (:mod:`jobs.pricing.policies`): listings within the market as ``category=shoes``
    (role, price_group, sku), section → key → value as a JSON object, the minute from which they hold, and whether
    they replace the scope's former changes. ``role`` is that of the operator's key, and ``signature`` the operator
    port's over all other fields (:mod:`jobs.access.signatures`).
    """

    event_id: str
    event_time_ms: int
    tenant: str
    kind: str
    operator: str
    market: str | None = None
    sku: str | None = None
    price_minor: int | None = None
    units: int | None = None
    until_ms: int | None = None
    decision_id: str | None = None
    version: int | None = None
    reason: str | None = None
    selection: str | None = None
    changes: str | None = None
    from_ms: int | None = None
    replaces: bool | None = None
    role: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """A policy patch as accepted or refused; each bucket writes the same record.

    ``selection``, ``changes``, ``from_ms`` and ``replaces`` are those of :class:`Command`; ``problem`` says why a
    refused patch cannot be applied. ``cancels``: ids of the pending patches that it cancels.
    """

    command_id: str
    event_time_ms: int
    tenant: str
    market: str
    selection: str
    changes: str
    from_ms: int
    replaces: bool
    operator: str
    reason: str
    accepted: bool
    problem: str
    cancels: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """A command that was not carried out, and why; buckets that refuse the same command write the same record."""

    command_id: str
    event_time_ms: int
    tenant: str
    kind: str
    operator: str
    problem: str


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key: issued, rotated or revoked.

    ``issued_ms``, ``expires_ms``, ``revoked_ms`` and ``changed_ms`` are wall times. ``tenant``: the one that its
    holder ``author`` may see; empty for every tenant. ``role``: one of :class:`jobs.access.roles.Role`.
    ``digest``: SHA-256 of the key's text, hexadecimal; the text itself is kept nowhere. ``signature``: over all
    other fields. ``kind``: where a key that may ask for prices is used, one of
    :class:`jobs.access.roles.KeyKind`; None, as in a record without the field: on the shop's servers.
    ``changed_ms``: time of the change, which rises with every record of a key, so that an older one is recognised;
    None, as in a record without the field: that of the issue or the revocation.
    """

    key_id: str
    issued_ms: int
    tenant: str
    role: str
    author: str
    digest: str
    expires_ms: int
    revoked_ms: int | None
    signature: str | None = None
    kind: str | None = None
    changed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Redemption:
    """A price lock that an order has used up, or the start of an epoch of redemptions (decision 67).

    ``epoch`` is the epoch in which the order reserved the lock. The record counts if that epoch is the last one
    that was started before it in its partition. The fields after ``epoch`` are absent from a start.
    """

    kind: str
    epoch: str
    lock_id: str = ""
    order_id: str = ""
    redeemed_at_ms: int = 0
    expires_ms: int = 0
    tenant: str = ""
    market: str = ""
    sku: str = ""
    customer: str = ""
    price_minor: int = 0
    currency: str = ""
    version: int = 0
    quote_id: str = ""
