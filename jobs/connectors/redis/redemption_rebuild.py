"""Rebuild the redemptions in Redis from their topic, in a new epoch.

The order of the steps makes a redemption safe (decision 67): Redis refuses redemptions first, then the start of
the new epoch is written to every partition, then the topic is read, and at last Redis accepts redemptions of the
new epoch. A redemption of an older epoch is either read, or follows the start and does not count.
"""

from __future__ import annotations

import logging
import secrets
from typing import NamedTuple

from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.kafka.redemption_log import EpochReplacedError, start_epoch
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.locks.history import RedemptionHistory
from schemas.topics import TOPICS

log = logging.getLogger(__name__)


class RebuiltRedemptions(NamedTuple):
    """Result of a rebuild: locks that are used up, records read, void records, and unreadable ones."""

    used: int
    read: int
    void: int
    unreadable: int


def rebuild_redemptions(store: RedemptionStore, bootstrap: str, now_ms: int) -> RebuiltRedemptions:
    """Rebuild Redis' redemptions from the topic ``redemptions``, in a new epoch.

    Redemptions are answered with 503 meanwhile, a second or so. The topic keeps 30 days of wall time; all of it is
    read.

    Parameters
    ----------
    now_ms : the run's time, epoch ms; locks that have long expired are left out.

    Raises
    ------
    EpochReplacedError
        If another rebuild has started since, or Redis has lost its data again.
    confluent_kafka.KafkaException
        If the broker does not answer. Redemptions stay refused then.
    """
    epoch = secrets.token_hex(8)
    store.begin(epoch)
    start_epoch(bootstrap, epoch, lambda: store.is_rebuilding(epoch))
    history, read = RedemptionHistory(now_ms), 0
    for record in read_topic(bootstrap, TOPICS["redemptions"].topic):
        read += 1
        try:
            value = record.json()
        except ValueError as error:
            log.warning("rebuild: %s-%d-%d: %r", record.topic, record.partition, record.offset, error)
            value = {}
        history.take(record.partition, value)
    if not store.fill(epoch, history.used) or not store.finish(epoch):
        raise EpochReplacedError("another rebuild of the redemptions has started since, or Redis was lost again")
    return RebuiltRedemptions(len(history.used), read, history.void, history.unreadable)
