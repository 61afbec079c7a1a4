"""The records of the quote port, by which requests are validated and the OpenAPI document is generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from jobs.edge.quote_requests import MAX_ID, BadRequestError
from schemas.events import DEFAULT_ARM, QuoteSource

MAX_LINES = 200
"""Most listings of a batch or lines of a cart."""
MAX_QUANTITY = 10_000
"""Most units of a cart's line; a cart's total then fits into 64 bits."""
MAX_SHOWN = 80
"""Most characters of a refused value that the reply repeats."""
LISTING = "demo/web-us-usd/sku-0001"
_PSEUDONYM = "8a0f6d1c2b3e4f5a9b8c7d6e5f4a3b2c"


class Record(BaseModel):
    """A record of the port."""

    model_config = ConfigDict(frozen=True)


class _Request(Record):
    customer: str = Field("", max_length=MAX_ID, description="customer id; may be left out for a guest")
    session: str = Field("", max_length=MAX_ID, description="session id; the customer id by default")
    bot: bool = Field(False, description="whether the caller knows the request as a robot's")


class BatchRequest(_Request):
    """Prices of several listings for one customer."""

    listings: list[str] = Field(
        min_length=1, max_length=MAX_LINES, description="listings, tenant/market/sku", examples=[[LISTING]]
    )


class CartLine(Record):
    """A listing and its quantity."""

    listing: str = Field(description="tenant/market/sku", examples=[LISTING])
    quantity: int = Field(ge=1, le=MAX_QUANTITY, description="units", examples=[2])


class CartRequest(_Request):
    """Prices and totals of a cart."""

    lines: list[CartLine] = Field(min_length=1, max_length=MAX_LINES)


class Quote(Record):
    """A price for a shopper."""

    quote_id: str = Field(
        description="id of the logged quote; orders repeat it", examples=["q-5f3a9c01d2e4b687-1a"]
    )
    customer: str = Field(description="the customer's pseudonym", examples=[_PSEUDONYM])
    session: str = Field(description="the session's pseudonym", examples=[_PSEUDONYM])
    age_ms: int = Field(ge=0, description="time since the table was published, ms", examples=[1200])
    tenant: str = Field(examples=["demo"])
    market: str = Field(examples=["web-us-usd"])
    sku: str = Field(examples=["sku-0001"])
    segment: str = Field(description="the customer's segment", examples=["all"])
    arm: str = Field(description="arm of the experiment", examples=[DEFAULT_ARM])
    price_minor: int = Field(ge=1, description="price in minor units", examples=[1999])
    price: str = Field(description="price in major units", examples=["19.99"])
    currency: str = Field(pattern="^[A-Z]{3}$", description="ISO 4217", examples=["USD"])
    version: int = Field(ge=0, description="version of the price table; 0: list price", examples=[1764500000000])
    valid_until_ms: int | None = Field(
        description="end of the table, epoch ms; null: a list price", examples=[1764586400000]
    )
    source: QuoteSource = Field(description="where the price came from", examples=["table"])
    reason: str = Field(description="the reason in words for shoppers", examples=["demand has changed"])


class LineProblem(Record):
    """Why a line has no quote (the members of RFC 9457 without the instance, which is the request's)."""

    type: str = Field(examples=["urn:walras:problem:unknown-listing"])
    title: str = Field(examples=["Unknown listing"])
    status: int = Field(ge=400, le=599, examples=[404])
    detail: str = Field(examples=["no price for demo/web-us-usd/none: expected a listing of the catalog topic"])


class ProblemDetails(LineProblem):
    """Why a request was refused (RFC 9457)."""

    instance: str = Field(description="urn with the request's id", examples=["urn:walras:request:order-7"])


class BatchReplyLine(Record):
    """A listing's quote, or why it has none."""

    listing: str = Field(examples=[LISTING])
    quote: Quote | None = None
    problem: LineProblem | None = None


class CartReplyLine(BatchReplyLine):
    """A line's quote and total, or why it has none."""

    quantity: int = Field(ge=1, le=MAX_QUANTITY, examples=[2])
    total_minor: int | None = Field(None, ge=1, description="price times quantity, minor units", examples=[3998])
    total: str | None = Field(None, description="the same in major units", examples=["39.98"])


class CurrencyTotal(Record):
    """The sum of a cart's lines with a quote in one currency."""

    currency: str = Field(examples=["USD"])
    total_minor: int = Field(ge=1, examples=[3998])
    total: str = Field(examples=["39.98"])


class BatchReply(Record):
    """Lines in the order of the request."""

    customer: Annotated[str, Field(description="the customer's pseudonym", examples=[_PSEUDONYM])]
    session: Annotated[str, Field(description="the session's pseudonym", examples=[_PSEUDONYM])]
    lines: list[BatchReplyLine]


class CartReply(Record):
    """Lines in the order of the request, and totals by currency."""

    customer: Annotated[str, Field(description="the customer's pseudonym", examples=[_PSEUDONYM])]
    session: Annotated[str, Field(description="the session's pseudonym", examples=[_PSEUDONYM])]
    lines: list[CartReplyLine]
    totals: list[CurrencyTotal] = Field(description="in the order of the currencies' codes")
    complete: bool = Field(description="whether every line has a quote; otherwise the totals lack some lines")


RECORDS = (Quote, BatchRequest, BatchReply, CartRequest, CartReply, ProblemDetails)
"""The records that requests and replies consist of."""
R = TypeVar("R", bound=Record)


def record_of(kind: type[R], given: Mapping[str, Any]) -> R:
    """Return a request from its decoded JSON.

    Raises
    ------
    BadRequestError
        Naming the first field that is invalid, what was expected and what was given.
    """
    try:
        return kind.model_validate(given, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Input should be ")
        raise BadRequestError(400, f"{field}: expected {message}; got {shown(first['input'])}") from None


def shown(value: object) -> str:
    """Return a value as text, shortened.

    >>> shown("a" * 100) == "'" + "a" * 79 + "…"
    True
    """
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def record_schemas(reference: str) -> dict[str, Any]:
    """Return the JSON schema of every record by name.

    Parameters
    ----------
    reference : text of a reference to another schema, with ``{model}`` for its name.
    """
    _, found = models_json_schema([(record, "validation") for record in RECORDS], ref_template=reference)
    return dict(found["$defs"])
