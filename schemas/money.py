"""Money in integer minor units, and the project's only rounding functions.

All amounts are integers, so that no price contains a floating-point error. All rounding is in this module, so
that the same amount is rounded the same way everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

EXPONENTS: dict[str, int] = {
    "AUD": 2, "BHD": 3, "BRL": 2, "CAD": 2, "CHF": 2, "CLP": 0, "CNY": 2, "CZK": 2, "DKK": 2, "EUR": 2,
    "GBP": 2, "HKD": 2, "HUF": 2, "INR": 2, "ISK": 0, "JPY": 0, "KRW": 0, "KWD": 3, "MXN": 2, "NOK": 2,
    "NZD": 2, "PLN": 2, "RUB": 2, "SEK": 2, "SGD": 2, "THB": 2, "TND": 3, "TRY": 2, "USD": 2, "VND": 0,
    "ZAR": 2,
}  # fmt: skip
"""Digits of the minor unit by ISO 4217 code. The contract rejects all other currencies."""


class MoneyError(ValueError):
    """Invalid amount or currency; the message states the expected and the actual value."""


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """Amount in minor units of one currency.

    Examples
    --------
    >>> Money.from_major("19.99", "USD")
    Money(minor=1999, currency='USD')
    >>> str(Money(1999, "USD")), str(Money(500, "JPY"))
    ('19.99 USD', '500 JPY')
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        """Check the currency and the type of the amount."""
        if self.currency not in EXPONENTS:
            raise MoneyError(f"currency: expected one of {', '.join(sorted(EXPONENTS))}; got {self.currency!r}")
        if not isinstance(self.minor, int) or isinstance(self.minor, bool):
            raise MoneyError(f"minor: expected an integer number of minor units, got {self.minor!r}")

    @classmethod
    def from_major(cls, amount: str | int | float | Decimal, currency: str) -> Money:
        """Convert an amount in major units; half a minor unit rounds to even.

        Raises
        ------
        MoneyError
            If the amount is not a finite number or the currency is unknown.
        """
        if currency not in EXPONENTS:
            raise MoneyError(f"currency: expected one of {', '.join(sorted(EXPONENTS))}; got {currency!r}")
        try:
            value = Decimal(str(amount).strip())
        except InvalidOperation:
            raise MoneyError(f"amount: expected a decimal number, got {amount!r}") from None
        if not value.is_finite():
            raise MoneyError(f"amount: expected a finite number, got {amount!r}")
        return cls(int(value.scaleb(EXPONENTS[currency]).to_integral_value(ROUND_HALF_EVEN)), currency)

    def __str__(self) -> str:
        """Return the amount in major units with its currency."""
        digits = EXPONENTS[self.currency]
        return f"{Decimal(self.minor).scaleb(-digits):.{digits}f} {self.currency}"


def floor_minor(value: float) -> int:
    """Round down to a whole minor unit, with a tolerance of 1e-6 units for floating-point error.

    Examples
    --------
    >>> floor_minor(1999.9999999), floor_minor(1999.4)
    (2000, 1999)
    """
    return math.floor(value + 1e-6)


def ceil_minor(value: float) -> int:
    """Round up to a whole minor unit, with a tolerance of 1e-6 units for floating-point error.

    Examples
    --------
    >>> ceil_minor(2000.0000001), ceil_minor(1999.4)
    (2000, 2000)
    """
    return math.ceil(value - 1e-6)


def to_grid(value_minor: int, step_minor: int, ending_minor: int = 0, *, up: bool) -> int:
    """Return the nearest price on the grid at or above (``up``) or at or below ``value_minor``.

    The grid is ``k * step_minor - ending_minor`` (step 100, ending 1: 0.99, 1.99, ...).

    Examples
    --------
    >>> to_grid(1950, 100, 1, up=True), to_grid(1950, 100, 1, up=False)
    (1999, 1899)
    """
    shifted = value_minor + ending_minor
    whole = -(-shifted // step_minor) if up else shifted // step_minor
    return whole * step_minor - ending_minor
