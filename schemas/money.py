"""Money in integer minor units, and the only rounding in the project.

Why its own module: a float that leaks into a price is a cent that nobody can explain, and a
rounding done in two places is two prices.
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
"""Minor-unit digits by ISO 4217 code; a currency that is not here is refused by the contract."""


class MoneyError(ValueError):
    """An amount or currency that cannot be money; says what was expected and what came."""


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units of one currency.

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
        if self.currency not in EXPONENTS:
            raise MoneyError(f"currency: expected one of {', '.join(sorted(EXPONENTS))}; got {self.currency!r}")
        if not isinstance(self.minor, int) or isinstance(self.minor, bool):
            raise MoneyError(f"minor: expected an integer number of minor units, got {self.minor!r}")

    @classmethod
    def from_major(cls, amount: str | int | float | Decimal, currency: str) -> Money:
        """Read an amount in major units; a half minor unit rounds to even.

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
        digits = EXPONENTS[self.currency]
        return f"{Decimal(self.minor).scaleb(-digits):.{digits}f} {self.currency}"


def floor_minor(value: float) -> int:
    """Round down to a whole minor unit, forgiving float dust below 1e-6 of a unit.

    >>> floor_minor(1999.9999999), floor_minor(1999.4)
    (2000, 1999)
    """
    return math.floor(value + 1e-6)


def ceil_minor(value: float) -> int:
    """Round up to a whole minor unit, forgiving float dust.

    >>> ceil_minor(2000.0000001), ceil_minor(1999.4)
    (2000, 2000)
    """
    return math.ceil(value - 1e-6)


def to_grid(value_minor: int, step_minor: int, ending_minor: int = 0, *, up: bool) -> int:
    """Nearest allowed price at or above (``up``) or at or below ``value_minor``.

    Allowed prices are ``k * step_minor - ending_minor`` (step 100, ending 1: 0.99, 1.99, ...).

    >>> to_grid(1950, 100, 1, up=True), to_grid(1950, 100, 1, up=False)
    (1999, 1899)
    """
    shifted = value_minor + ending_minor
    whole = -(-shifted // step_minor) if up else shifted // step_minor
    return whole * step_minor - ending_minor
