"""Feature rows written to Feast: online in micro-batches, offline as Parquet rows.

Online, the rows of a call go to the online store through Feast's own ``OnlineStore.online_write_batch`` with
values in its protobuf types: Feast's documented key layout and one write per call, without a dataframe and without
``push()``, which reads the registry each time. The write happens inside the host's call, because a Python function
in Flink has no later hook. Feast reads the stored timestamps first and skips rows that are not newer, so a
repeated or late batch changes nothing.

Offline, :data:`PARQUET_COLUMNS` is the row that feature_job's file sink writes and Feast reads.

Measured on two shared cores, 25 rows of all features a batch: see tests/jobs/connectors/test_feast_features.py.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from features.bucket_logic import Output
from features.registry import EVENT_TIMESTAMP, FEATURES, KEY
from jobs.connectors.redis.price_tables import client_options
from jobs.runtime.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

log = logging.getLogger(__name__)

VIEW = "listing_features"
SERVICE = "pricing"
SOURCE_001_SERVICE = "source_001"
FEATURE_REPO = Path(__file__).resolve().parents[3] / "feature_repo"
MAX_WAITING_ROWS = 100_000
_APPLIED = "applied.txt"

PARQUET_COLUMNS: tuple[tuple[str, str], ...] = (
    (KEY, "STRING"),
    (EVENT_TIMESTAMP, "TIMESTAMP_MS"),
    *((spec.public, {"int": "BIGINT", "float": "DOUBLE", "string": "STRING"}[spec.dtype]) for spec in FEATURES),
)
"""Columns of the offline store: name and STRING, BIGINT, DOUBLE or TIMESTAMP_MS (UTC)."""


_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")


def connection_string(redis_url: str) -> str:
    """Return Feast's connection string of a Redis URL, with the timeouts of :func:`client_options`.

    >>> connection_string("redis://:secret@127.0.0.1:6379/2")
    '127.0.0.1:6379,db=2,socket_timeout=2.0,socket_connect_timeout=1.0,password="secret"'
    """
    url = urlsplit(redis_url)
    parts = [f"{url.hostname}:{url.port or 6379}", f"db={url.path.lstrip('/') or 0}"]
    parts += [f"{name}={value}" for name, value in client_options().items() if name in _TIMEOUTS]
    # Feast reads each value as JSON first: quotes keep a password of digits a string.
    if url.username:
        parts.append(f'username="{unquote(url.username)}"')
    if url.password:
        parts.append(f'password="{unquote(url.password)}"')
    if url.scheme == "rediss":
        parts.append("ssl=true")
    return ",".join(parts)


def feast_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that feature_repo/feature_store.yaml and definitions.py read from the environment."""
    return {
        "WALRAS_FEAST_REGISTRY": str((settings.home / "feast" / "registry.db").absolute()),
        "WALRAS_FEAST_REDIS": connection_string(settings.redis.get_secret_value()),
        "WALRAS_FEAST_FEATURES": str(settings.archive_dir / "features"),
    }


def render_feature_store(settings: Settings) -> Path:
    """Fill the repo's feature_store.yaml with a run's addresses; return the file under ``<home>/feast``."""
    target = (settings.home / "feast" / "feature_store.yaml").absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    text = (FEATURE_REPO / "feature_store.yaml").read_text()
    # Several workers start at once: each writes a file of its own and renames it.
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    draft.write_text(Template(text).substitute(feast_environment(settings)))
    draft.chmod(0o600)
    return draft.replace(target)


def apply_feature_repo(settings: Settings) -> bool:
    """Run ``feast apply`` on feature_repo, unless the same definitions were applied before; return whether it ran.

    Sources are not validated, since the archive is empty until the first rows are written. Feast takes some
    seconds to start, which a repeated start of the platform saves.

    Raises
    ------
    RuntimeError
        With the end of Feast's output, if it fails.
    """
    (settings.archive_dir / "features").mkdir(parents=True, exist_ok=True)
    applied = settings.home / "feast" / _APPLIED
    now = _fingerprint(settings)
    if applied.exists() and applied.read_text() == now and (settings.home / "feast" / "registry.db").exists():
        return False
    command = [
        sys.executable, "-c", "from feast.cli.cli import cli; cli()",
        "--chdir", str(FEATURE_REPO), "--feature-store-yaml", str(render_feature_store(settings)),
        "apply", "--skip-source-validation",
    ]  # fmt: skip
    quiet = {"FEAST_USAGE": "False", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env=os.environ | feast_environment(settings) | quiet, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"feast apply failed ({done.returncode}): {(done.stderr or done.stdout)[-2000:]}")
    applied.write_text(now)
    return True


def _fingerprint(settings: Settings) -> str:
    places = {k: v for k, v in feast_environment(settings).items() if k != "WALRAS_FEAST_REDIS"}
    text = (FEATURE_REPO / "definitions.py").read_text() + repr(sorted(places.items())) + version("feast")
    return hashlib.sha256(text.encode()).hexdigest()


def open_store(settings: Settings) -> FeatureStore:
    """Return the run's Feast store, for reading online and offline.

    Raises
    ------
    FileNotFoundError
        If ``feast apply`` has not run yet.
    """
    from feast import FeatureStore

    # This file is written after `feast apply` has ended: a registry alone may be incomplete.
    if not (settings.home / "feast" / _APPLIED).exists():
        raise FileNotFoundError(
            f"{settings.home}/feast/{_APPLIED}: expected an applied feature repo; run apply_feature_repo"
        )
    return FeatureStore(fs_yaml_file=render_feature_store(settings))


class FeastOnlineWriter:
    """Writes the rows of one call to Feast's online store; an output sink of the host.

    If the store cannot be reached, the newest row per listing is queued, counted, and written with the next call.
    The host does not stop: the next minute brings newer rows.

    Parameters
    ----------
    settings : the run's settings; the store is opened at the first write, in the process that writes.

    Attributes
    ----------
    counts : rows written, rows queued, calls that failed; for metrics.
    """

    streams: frozenset[str] = frozenset({"features"})

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: FeatureStore | None = None
        self._view: Any = None
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self.counts = {"features_written": 0, "features_waiting": 0, "feature_writes_failed": 0}

    def write(self, outputs: Sequence[Output]) -> None:
        """Write the rows of one call and those queued before; called without rows, retry the queued ones."""
        from redis.exceptions import RedisError

        for output in outputs:
            self._waiting.pop(output.key, None)
            self._waiting[output.key] = output.value
        if not self._waiting:
            return
        try:
            self.write_rows(list(self._waiting.values()))
        except (RedisError, OSError) as error:
            self.counts["feature_writes_failed"] += 1
            log.warning("Feast online store: %d rows queued: %s", len(self._waiting), error)
            while len(self._waiting) > MAX_WAITING_ROWS:
                del self._waiting[next(iter(self._waiting))]
            self.counts["features_waiting"] = len(self._waiting)
            return
        self.counts["features_written"] += len(self._waiting)
        self._waiting.clear()
        self.counts["features_waiting"] = 0

    def write_rows(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Write ``features`` values in one batch.

        Raises
        ------
        redis.exceptions.RedisError
            If the online store does not accept it.
        """
        if self._store is None:
            self._store = open_store(self._settings)
            self._view = self._store.get_feature_view(VIEW)
        rows = [online_row(value) for value in values]
        self._store.provider.online_write_batch(self._store.config, self._view, rows, None)


_FIELDS = tuple(
    (spec.public, {"int": "int64_val", "float": "double_val", "string": "string_val"}[spec.dtype])
    for spec in FEATURES
)


def online_row(value: Mapping[str, Any]) -> tuple[Any, dict[str, Any], datetime, datetime | None]:
    """Return a ``features`` value in the types of Feast's online store: entity key, values, event time, created.

    A missing value is an empty protobuf Value, which Feast reads back as None.
    """
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    key = EntityKey(join_keys=[KEY], entity_values=[_value("string_val", value[KEY])])
    values = {name: _value(field, value[name]) for name, field in _FIELDS}
    return key, values, datetime.fromtimestamp(value[EVENT_TIMESTAMP] / 1000, UTC), None


@lru_cache(maxsize=8192)
def _value(field: str, value: Any) -> Any:
    """Return a protobuf value, cached: counts, states and missing values repeat from row to row."""
    from feast.protos.feast.types.Value_pb2 import Value

    return Value() if value is None else Value(**{field: value})


def flink_row_type() -> Any:
    """Return the offline row as a Flink row type, for feature_job's Parquet sink."""
    from pyflink.table import DataTypes

    types = {
        "STRING": DataTypes.STRING(),
        "BIGINT": DataTypes.BIGINT(),
        "DOUBLE": DataTypes.DOUBLE(),
        "TIMESTAMP_MS": DataTypes.TIMESTAMP(3),
    }
    return DataTypes.ROW([DataTypes.FIELD(name, types[kind]) for name, kind in PARQUET_COLUMNS])
