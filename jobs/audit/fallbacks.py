"""How many listings have a price from the fallback chain, by their newest decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from jobs.connectors.kafka.reading import Record, read_newest_first
from schemas.codes import Fallback
from schemas.public_texts import FALLBACKS
from schemas.topics import TOPICS

CHUNKS_READ = 4
"""Chunks of the topic that are read from its end: up to 7,500 decisions of each partition."""


@dataclass(frozen=True, slots=True)
class FallbackUse:
    """Listings by the stage of the fallback chain that their newest decision used.

    Attributes
    ----------
    listings : listings whose newest decision was read.
    stages : stage → listings; stages that no listing uses are left out.
    """

    listings: int
    stages: Mapping[str, int]

    @property
    def line(self) -> str:
        """Return one line for ``walras status``.

        >>> FallbackUse(20, {"last_table": 2, "list_price": 1}).line
        '3 of 20 listings; the last price table: 2; the list price: 1'
        >>> FallbackUse(20, {}).line
        'none of 20 listings'
        """
        used = [f"{FALLBACKS[stage]}: {count}" for stage, count in self.stages.items()]
        return "; ".join([f"{sum(self.stages.values()) or 'none'} of {self.listings} listings", *used])


def fallback_use(bootstrap: str) -> FallbackUse:
    """Read the newest decisions and count their listings by stage.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    """
    chunks = zip(range(CHUNKS_READ), read_newest_first(bootstrap, TOPICS["decisions"].topic), strict=False)
    return count_stages(chain.from_iterable(reversed(records) for _, records in chunks))


def count_stages(newest_first: Iterable[Record]) -> FallbackUse:
    """Count listings by the stage of their first record, which is their newest decision.

    >>> record = Record("decisions", 0, 0, 0, "acme/web/s1", b'{"result": {"fallback": "rule"}}')
    >>> count_stages([record, record])
    FallbackUse(listings=1, stages={'rule': 1})
    """
    newest: dict[str | None, str] = {}
    for record in newest_first:
        if record.value and record.key not in newest:
            newest[record.key] = record.json()["result"].get("fallback") or Fallback.NONE
    counts = Counter(newest.values())
    stages = {stage.value: counts[stage] for stage in Fallback if stage is not Fallback.NONE and counts[stage]}
    return FallbackUse(len(newest), stages)
