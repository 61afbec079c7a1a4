"""The operators' API: commands and keys.

POST /v1/commands                                        send a command, signed with the author of the key
GET  /v1/keys                                            keys of the own tenant, without their texts
POST /v1/keys                                            issue a key; the reply shows its text once
POST /v1/keys/{key_id}/kind                              state where a key for prices is used
POST /v1/keys/{key_id}/rotate                            replace a key's text
POST /v1/keys/{key_id}/revoke                            refuse a key from now on
GET  /v1/session                                         who is signed in
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from jobs.access import KeyKind, Permission, Principal, Role
from jobs.access.keys import EVERY_TENANT, NAME_PATTERN, KeyIssueError, kind_of_record
from jobs.access.signatures import CommandKeyError
from jobs.connectors.kafka import access_keys
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import OperatorError, make_command, publish_command
from jobs.connectors.kafka.publisher import PublishError
from jobs.console.sign_in import ConsoleAccess, required
from jobs.pricing.commands import HANDLER_OF
from jobs.runtime.settings import Settings
from schemas.records.operator_events import AccessKey, CommandKind

Manager = Annotated[Principal, Depends(required(Permission.COMMAND))]
Admin = Annotated[Principal, Depends(required(Permission.MANAGE_KEYS))]
Reader = Annotated[Principal, Depends(required(Permission.READ))]

Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A number that the topic's records can hold."""


class CommandBody(BaseModel):
    """A command of an operator; which fields a kind needs is in the contract of the topic `commands`.

    approve, reject, manual_price, sale_target and rollback are for one listing and need ``market`` and ``sku``.
    """

    model_config = ConfigDict(extra="forbid")

    kind: CommandKind
    tenant: str = Field(min_length=1, max_length=64, examples=["demo"])
    market: str | None = Field(None, max_length=64, examples=["web-us-usd"])
    sku: str | None = Field(None, max_length=128, examples=["sku-0001"])
    reason: str | None = Field(None, max_length=1024, examples=["wrong cost in the catalog"])
    price_minor: Int64 | None = None
    units: Int64 | None = None
    until_ms: Int64 | None = None
    decision_id: str | None = Field(None, max_length=64)
    version: Int64 | None = None
    selection: str | None = Field(None, max_length=160)
    changes: str | None = None
    from_ms: Int64 | None = None
    replaces: bool | None = None


class CommandSent(BaseModel):
    """A command that Kafka has; whether it is carried out is in the decisions, or in `refused_commands`."""

    command_id: str
    event_time_ms: int
    operator: str


class KeyBody(BaseModel):
    """A key to be issued."""

    model_config = ConfigDict(extra="forbid")

    author: str = Field(pattern=NAME_PATTERN, examples=["ann"])
    role: Role
    tenant: str = Field(
        max_length=64, description="the one tenant that it may see; * or empty: every tenant", examples=["demo"]
    )
    days: float = Field(90, gt=0, le=3650)
    kind: KeyKind = Field(
        KeyKind.PUBLIC,
        description="where a key for prices is used; requests of a public one are checked for probing",
    )


class KindBody(BaseModel):
    """Where a key for prices is used."""

    model_config = ConfigDict(extra="forbid")

    kind: KeyKind


class IssuedKey(BaseModel):
    """A new key. ``key`` is shown here alone."""

    key_id: str
    key: str
    expires_ms: int


class SessionView(BaseModel):
    """Who asks. ``csrf``: to be sent with every change; empty for a key in a header."""

    author: str
    role: str
    tenant: str
    csrf: str


def operator_routes(settings: Settings) -> APIRouter:
    """Return the routes of commands, keys and the session."""
    routes = APIRouter(prefix="/v1")

    @routes.post("/commands", status_code=HTTPStatus.ACCEPTED)
    async def send(body: Annotated[CommandBody, Body()], who: Manager) -> CommandSent:
        """Send a command, with the key's author and role; 400 where its kind needs one listing and has none."""
        if not who.sees(body.tenant):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"tenant: expected {who.tenant!r}, got {body.tenant!r}")
        given = body.model_dump(exclude={"kind", "tenant", "market", "sku"})
        try:
            command = make_command(
                body.kind, Target(body.tenant, body.market, body.sku), operator=who.author,
                now_ms=settings.run_clock.now_ms(), **given,
            )  # fmt: skip
            if problem := HANDLER_OF[command.kind].problem(command):
                raise HTTPException(HTTPStatus.BAD_REQUEST, problem)
            await asyncio.to_thread(publish_command, settings, command, who.role)
        except OperatorError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except (PublishError, CommandKeyError) as error:
            raise _unavailable(error) from None
        return CommandSent(command_id=command.event_id, event_time_ms=command.event_time_ms, operator=who.author)

    @routes.get("/keys")
    async def keys(request: Request, who: Admin) -> list[dict[str, Any]]:
        """List the keys of the own tenant; an administrator of every tenant sees all."""
        access: ConsoleAccess = request.app.state.access
        return [public(record) for record in access.ring.records() if who.sees(record.tenant)]

    @routes.post("/keys", status_code=HTTPStatus.CREATED)
    async def issue(body: Annotated[KeyBody, Body()], who: Admin) -> IssuedKey:
        """Issue a key. Its text is in this reply alone."""
        tenant = EVERY_TENANT if body.tenant == "*" else body.tenant
        if not who.sees(tenant):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"tenant: expected {who.tenant!r}, got {body.tenant!r}")
        try:
            text, record = await asyncio.to_thread(
                access_keys.issue, settings, body.author, body.role, tenant, body.days, body.kind
            )
        except KeyIssueError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except (PublishError, CommandKeyError) as error:
            raise _unavailable(error) from None
        return IssuedKey(key_id=record.key_id, key=text, expires_ms=record.expires_ms)

    @routes.post("/keys/{key_id}/kind")
    async def state_kind(
        request: Request, key_id: str, body: Annotated[KindBody, Body()], who: Admin
    ) -> dict[str, Any]:
        """State where a key for prices is used; its text stays."""
        _check_visible(request, key_id, who)
        try:
            return public(await asyncio.to_thread(access_keys.set_kind, settings, key_id, body.kind))
        except (access_keys.UnknownKeyError, KeyIssueError) as error:
            raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
        except (PublishError, CommandKeyError) as error:
            raise _unavailable(error) from None

    @routes.post("/keys/{key_id}/{action}")
    async def change(
        request: Request, key_id: str, action: Literal["rotate", "revoke"], who: Admin
    ) -> dict[str, Any]:
        """Rotate or revoke a key; its former text is refused within a second."""
        _check_visible(request, key_id, who)
        try:
            if action == "revoke":
                return public(await asyncio.to_thread(access_keys.revoke, settings, key_id))
            text, record = await asyncio.to_thread(access_keys.rotate, settings, key_id)
        except (access_keys.UnknownKeyError, KeyIssueError) as error:
            raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
        except (PublishError, CommandKeyError) as error:
            raise _unavailable(error) from None
        return public(record) | {"key": text}

    @routes.get("/session")
    async def session(request: Request, who: Reader) -> SessionView:
        """Return who is signed in."""
        access: ConsoleAccess = request.app.state.access
        found = await access.holder(request)
        csrf = found[1] if found is not None else None
        return SessionView(author=who.author, role=who.role, tenant=who.tenant, csrf=csrf or "")

    return routes


def public(record: AccessKey) -> dict[str, Any]:
    """Return a key's record without its hash and signature, and with the kind that it has."""
    shown = {name: value for name, value in asdict(record).items() if name not in ("digest", "signature")}
    return shown | {"kind": kind_of_record(record)}


def _check_visible(request: Request, key_id: str, who: Principal) -> None:
    """Raise HTTPException if the caller may see no key of this id."""
    access: ConsoleAccess = request.app.state.access
    if not any(record.key_id == key_id and who.sees(record.tenant) for record in access.ring.records()):
        raise HTTPException(HTTPStatus.NOT_FOUND, f"key id: no key {key_id!r}")


def _unavailable(error: Exception) -> HTTPException:
    if isinstance(error, CommandKeyError):
        return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"this port cannot sign, nothing was sent: {error}")
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"Kafka does not take it: {error}", {"retry-after": "5"})
