"""DISTURBANCES: what happens to the servers while the edge answers quotes.

To add a disturbance: a file here with a subclass of ``Disturbance`` (``base.py``) that sets ``name``, ``what`` and
its durations and implements ``begin`` and ``end``, and an instance in the tuple below. The claims are those of all
disturbances: every quote is answered with source and age, in time, and logged.
"""

from __future__ import annotations

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.disturbances.kafka_away import KafkaAway
from infra.reports.edge_drill.disturbances.poisoned_table import PoisonedTable
from infra.reports.edge_drill.disturbances.redis_emptied import RedisEmptied
from infra.reports.edge_drill.disturbances.redis_hung import RedisHung
from infra.reports.edge_drill.disturbances.redis_killed import RedisKilled

DISTURBANCES: tuple[Disturbance, ...] = (
    PoisonedTable(),
    RedisKilled(),
    RedisHung(),
    RedisEmptied(),
    KafkaAway(),
)
"""In the order of the drill: the invalid lines stay on the topic, from which Redis is refilled later."""
