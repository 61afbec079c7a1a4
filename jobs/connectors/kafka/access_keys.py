"""Access keys in Kafka: the topic that every instance follows, and changes of it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import orjson
from confluent_kafka import KafkaException
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from jobs.access.key_files import ADMIN, SHOP, LocalKey, deployment_signer, local_key, verification_key
from jobs.access.keys import EVERY_TENANT, KeyIssueError, KeyRing, issue_key, kind_of, next_change_ms
from jobs.access.roles import KeyKind, Role
from jobs.access.signatures import is_signed, public_key
from jobs.connectors.kafka.offsets import KAFKA_UNREACHABLE, SILENT, error_text
from jobs.connectors.kafka.publisher import Publisher, PublishError
from jobs.connectors.kafka.reading import read_topic
from jobs.runtime.settings import Settings
from schemas.records.operator_events import AccessKey
from schemas.time_units import DAY_MS
from schemas.topics import TOPICS

log = logging.getLogger(__name__)

ANSWER_S = 10.0
"""Wall seconds within which the broker must answer each question about the keys: an administrator waits."""


class UnknownKeyError(LookupError):
    """No key has this id; the message names those that exist."""


def new_ring(settings: Settings) -> KeyRing:
    """Return an empty ring that accepts the deployment's own records alone.

    In a replay without a public key it accepts every record.

    Raises
    ------
    jobs.access.signatures.CommandKeyError
        If the run is no replay and has no public key.
    """
    text = verification_key(settings)
    if text is None:
        return KeyRing()
    key = public_key(text)
    return KeyRing(genuine=lambda record: is_signed(record, key))


def read_ring(settings: Settings) -> KeyRing:
    """Return the keys that the topic holds now; records that are no keys' are skipped, and their number logged.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    jobs.access.signatures.CommandKeyError
        As :func:`new_ring`.
    """
    ring, unreadable = new_ring(settings), 0
    for record in read_topic(settings.kafka, TOPICS["access_keys"].topic, timeout_s=ANSWER_S):
        try:
            if record.value is not None:
                ring.take_value(record.json())
        except ValueError:
            unreadable += 1
    if unreadable:
        log.warning("access keys: skipped %d records that are no keys'", unreadable)
    return ring


def publish_key(settings: Settings, record: AccessKey) -> None:
    """Sign a key's record, publish it, and wait until the broker has it.

    Raises
    ------
    jobs.connectors.kafka.publisher.PublishError
        If the broker does not take it within 15 s.
    jobs.access.signatures.CommandKeyError
        If the deployment's private key cannot be read; nothing is published.
    """
    signed = deployment_signer(settings).sign(record)
    publisher = Publisher(settings.kafka, **{"message.timeout.ms": 14_000, "logger": SILENT})
    publisher.send("access_keys", signed, timestamp_ms=record.issued_ms, key=record.key_id)
    publisher.flush(15.0)


def issue(
    settings: Settings, author: str, role: str, tenant: str, days: float, kind: str = KeyKind.PUBLIC
) -> tuple[str, AccessKey]:
    """Issue a key for some days; return its text, which is kept nowhere, and its record.

    Raises as :func:`jobs.access.keys.issue_key` and :func:`publish_key`.
    """
    now_ms = wall_ms()
    text, record = issue_key(
        author, role, tenant, now_ms=now_ms, expires_ms=now_ms + round(days * DAY_MS), kind=kind
    )
    publish_key(settings, record)
    return text, record


def revoke(settings: Settings, key_id: str) -> AccessKey:
    """Revoke a key for ever; requests with it and sessions that it began are refused within a second.

    Raises
    ------
    UnknownKeyError
        If no key has this id.
    jobs.connectors.kafka.publisher.PublishError, jobs.access.signatures.CommandKeyError
        As :func:`publish_key`, and if the broker does not answer.
    """
    known, now_ms = _known(settings, key_id), wall_ms()
    revoked = replace(known, revoked_ms=now_ms, changed_ms=next_change_ms(known, now_ms))
    publish_key(settings, revoked)
    return revoked


def rotate(settings: Settings, key_id: str) -> tuple[str, AccessKey]:
    """Replace a key's text; the old text and sessions that it began are refused within a second.

    Holder, role, tenant, expiry and kind stay.

    Raises
    ------
    UnknownKeyError
        If no key has this id, or it is revoked.
    jobs.connectors.kafka.publisher.PublishError, jobs.access.signatures.CommandKeyError
        As :func:`revoke`.
    """
    old, now_ms = _accepted(settings, key_id), wall_ms()
    text, record = issue_key(
        old.author, old.role, old.tenant, now_ms=now_ms, expires_ms=old.expires_ms, key_id=key_id,
        kind=old.kind or KeyKind.BACKEND,
    )  # fmt: skip
    record = replace(record, changed_ms=next_change_ms(old, now_ms))
    publish_key(settings, record)
    return text, record


def set_kind(settings: Settings, key_id: str, kind: str) -> AccessKey:
    """State where a key is used; its text stays, and every instance knows within a second.

    Raises
    ------
    UnknownKeyError
        If no key has this id, or it is revoked.
    jobs.access.keys.KeyIssueError
        If there is no such kind, or the key's role asks for no prices.
    jobs.connectors.kafka.publisher.PublishError, jobs.access.signatures.CommandKeyError
        As :func:`revoke`.
    """
    old = _accepted(settings, key_id)
    stated = kind_of(old.role, kind)
    if stated is None:
        raise KeyIssueError(f"kind: expected a key whose role may ask for prices; this one's is {old.role}")
    record = replace(old, kind=stated, changed_ms=next_change_ms(old, wall_ms()))
    publish_key(settings, record)
    return record


def _accepted(settings: Settings, key_id: str) -> AccessKey:
    found = _known(settings, key_id)
    if found.revoked_ms is not None:
        raise UnknownKeyError(f"key {key_id} is revoked: issue a new one")
    return found


def _known(settings: Settings, key_id: str) -> AccessKey:
    try:
        records = {record.key_id: record for record in read_ring(settings).records()}
    except KAFKA_UNREACHABLE as error:
        raise PublishError(f"the keys cannot be read, nothing was changed: {error_text(error)}") from error
    if key_id not in records:
        raise UnknownKeyError(f"key id: expected one of {', '.join(records) or 'none'}; got {key_id!r}")
    return records[key_id]


# A topic that was just created has no leader for a moment.
@retry(
    retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(60), wait=wait_fixed(0.2), reraise=True
)
def ensure_local_keys(settings: Settings) -> LocalKey:
    """Issue the local platform's keys where they are missing, and publish them; return the administrator's."""
    signer = deployment_signer(settings)
    admin = local_key(settings.keys_folder / f"{ADMIN}.json", signer, ADMIN, Role.ADMIN, EVERY_TENANT)
    shop = local_key(settings.keys_folder / f"{SHOP}.json", signer, SHOP, Role.QUOTES, settings.tenant)
    known = {record.key_id for record in read_ring(settings).records()}
    for key in (admin, shop):
        if key.record.key_id not in known:
            publish_key(settings, key.record)
    return admin


class RingFile:
    """Records of keys in a file, so that a process that starts while Kafka does not answer knows them.

    The file holds hashes alone. It is written at most once per change, by the process that follows the topic.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = -1

    def load(self, ring: KeyRing) -> None:
        """Give the ring the records of the file, if there is one."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            for value in orjson.loads(self._path.read_bytes()):
                ring.take_value(value)

    def save(self, ring: KeyRing) -> None:
        """Write the ring's records if they have changed since; a failure is logged, once per change."""
        if ring.generation == self._written:
            return
        self._written = ring.generation
        # The edge and the operator port of one machine write the same file.
        draft = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(orjson.dumps(ring.records()))
            draft.chmod(0o600)
            draft.replace(self._path)
        except OSError as error:
            log.error(
                "access keys: expected a writable %s, got %s; a start without Kafka needs it", self._path, error
            )


def wall_ms() -> int:
    """Return the wall time, epoch ms: keys expire whatever the run's clock says."""
    return round(time.time() * 1000)
