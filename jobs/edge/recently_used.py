"""A bounded dictionary that forgets entries which were not used recently, with the look-up time of a plain one."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentlyUsed(dict[K, V | None]):
    """At most ``limit`` entries in two generations; the older generation is forgotten when the newer one is full.

    Read with ``cache[key]``, which returns None for an unknown key. An entry of the newer generation is found by
    dict's own look-up, without a call of Python code, unlike in an ``OrderedDict`` whose every hit moves an entry.
    An entry of the older generation moves to the newer one. An entry is therefore forgotten only if at least half
    of the limit of other entries were used or added since it was used.

    Parameters
    ----------
    limit : most entries, at least 2.

    Attributes
    ----------
    evicted : entries forgotten.
    misses : look-ups of unknown keys.

    Examples
    --------
    >>> cache = RecentlyUsed(4)
    >>> for key in "abcd":
    ...     cache.put(key, key.upper())
    >>> cache["a"], cache["x"], cache.size
    ('A', None, 3)
    >>> cache["c"], cache["b"], cache.evicted
    ('C', None, 1)
    """

    __slots__ = ("_half", "_older", "evicted", "misses")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._half = max(1, limit // 2)
        self._older: dict[K, V | None] = {}
        self.evicted = 0
        self.misses = 0

    def __missing__(self, key: K) -> V | None:
        value = self._older.pop(key, None)
        if value is None:
            self.misses += 1
            return None
        self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Add or replace an entry."""
        if len(self) >= self._half and key not in self:
            self.age()
        self._older.pop(key, None)
        self[key] = value

    def age(self) -> None:
        """Forget the older generation; the newer one becomes the older one."""
        self.evicted += len(self._older)
        self._older = dict(self)
        self.clear()

    @property
    def size(self) -> int:
        """Number of entries in both generations."""
        return len(self) + len(self._older)
