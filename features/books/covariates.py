"""Covariates of a listing: named numbers such as ``promotion`` or ``display``, each from a time on.

Data for one listing: records (name, value v, event time). At the end of a minute:

  (1) the value of a name is that of its newest record by event time (ties: the later in canonical order);
  (2) a value has no age limit: it applies until the next record of its name;
  (3) a listing keeps at most ``max_names`` names. Of more, the one with the oldest record is removed first; a name
      that learning uses is removed only if all others are used, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from features.bucket_logic import refuse_other_version
from schemas.events import Covariate
from schemas.listings import Listing


class CovariateValue(NamedTuple):
    """Newest value of one covariate of a listing."""

    at_ms: int
    value: float


class CovariateBook:
    """Newest value of each covariate, per listing of a bucket; bounded.

    Parameters
    ----------
    max_names : names kept per listing.
    used : names that learning uses, which are removed last.

    Examples
    --------
    >>> book = CovariateBook(max_names=2)
    >>> at = ("acme", "web", "s1", "s1")
    >>> book.observe(Covariate("e", 5, *at, "display", 1.0, "shelf"))
    True
    >>> book.observe(Covariate("e", 4, *at, "display", 0.0, "shelf"))
    False
    >>> book.value("acme/web/s1", "display"), book.value("acme/web/s1", "promotion")
    (1.0, None)
    """

    version = 1

    def __init__(self, max_names: int, used: Sequence[str] = ()) -> None:
        self._max_names = max_names
        self._used = frozenset(used)
        self._values: dict[str, dict[str, CovariateValue]] = {}

    def __len__(self) -> int:
        """Return the number of listings with a value."""
        return len(self._values)

    def observe(self, covariate: Covariate) -> bool:
        """Store a record; return whether it is now the newest one of its name."""
        values = self._values.setdefault(Listing.key_of(covariate), {})
        held = values.get(covariate.name)
        if held is not None and held.at_ms > covariate.event_time_ms:
            return False
        values[covariate.name] = CovariateValue(covariate.event_time_ms, covariate.value)
        while len(values) > self._max_names:
            del values[min(values, key=lambda name: (name in self._used, values[name].at_ms, name))]
        return covariate.name in values

    def value(self, listing_key: str, name: str) -> float | None:
        """Return the newest value of a covariate, or None without a record."""
        held = self._values.get(listing_key, {}).get(name)
        return held.value if held is not None else None

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data: per listing and name the event time and the value."""
        listings = {
            key: {name: list(held) for name, held in sorted(values.items())}
            for key, values in self._values.items()
        }
        return {"v": self.version, "listings": listings}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("CovariateBook", self.version, snapshot)
        self._values = {
            key: {name: CovariateValue(int(at_ms), float(value)) for name, (at_ms, value) in values.items()}
            for key, values in snapshot["listings"].items()
        }
