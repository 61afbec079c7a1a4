"""Disturbance: what a member of :data:`DISTURBANCES` does to the servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

from infra.reports.edge_drill.servers import Servers


class Disturbance(ABC):
    """Something that happens to the servers while quotes are requested, and its end.

    Attributes
    ----------
    name : key in the report.
    what : the disturbance in words.
    seconds, quick_seconds : how long it lasts in the full and in the quick form, wall seconds.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    seconds: ClassVar[float]
    quick_seconds: ClassVar[float]

    @abstractmethod
    def begin(self, servers: Servers) -> None:
        """Begin. The first half second of the failure counts from the call."""

    @abstractmethod
    def end(self, servers: Servers) -> None:
        """Remove the cause and wait until the servers work again."""

    def affected(self) -> Collection[str]:
        """Return keys of listings whose own table is disturbed; empty when all are, or none."""
        return ()
