"""Feature rows to Feast: online in micro-batches, offline as Parquet rows.

Online, a batch's rows go to the online store through Feast's own ``OnlineStore.online_write_batch``
with values already in its protobuf types: Feast's documented key layout, one write per call, no
dataframe in between and no ``push()`` (which reads the registry anew each time). It happens inside
the host's call, because a Python function in Flink has no later moment at which to flush. Feast reads
the stored timestamps first and skips rows that are not newer, so a repeated or stale batch is harmless.

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
    import pyarrow as pa
    from feast import FeatureStore

log = logging.getLogger(__name__)

PROJECT = "walras"
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


def parquet_row(value: Mapping[str, Any]) -> tuple[Any, ...]:
    """A ``features`` value as a row of :data:`PARQUET_COLUMNS`; the time as a naive UTC datetime.

    Raises
    ------
    KeyError
        If a column is missing.
    """
    at = datetime.fromtimestamp(value[EVENT_TIMESTAMP] / 1000, UTC).replace(tzinfo=None)
    return (value[KEY], at, *(value[name] for name, _ in PARQUET_COLUMNS[2:]))


def arrow_schema() -> pa.Schema:
    """The offline row as an Arrow schema."""
    import pyarrow as pa

    types = {
        "STRING": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "TIMESTAMP_MS": pa.timestamp("ms"),
    }
    return pa.schema([pa.field(name, types[kind]) for name, kind in PARQUET_COLUMNS])


def write_parquet(values: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write ``features`` values as one Parquet file (backfill, replay, tests)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*(parquet_row(value) for value in values), strict=True)
    schema = arrow_schema()
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


_WAITS = ("socket_timeout", "socket_connect_timeout")


def connection_string(redis_url: str) -> str:
    """Feast's way to name a Redis, from a Redis URL; one that hangs is waited for as long as elsewhere.

    >>> connection_string("redis://:secret@127.0.0.1:6379/2")
    '127.0.0.1:6379,db=2,socket_timeout=2.0,socket_connect_timeout=1.0,password="secret"'
    """
    url = urlsplit(redis_url)
    parts = [f"{url.hostname}:{url.port or 6379}", f"db={url.path.lstrip('/') or 0}"]
    parts += [f"{name}={value}" for name, value in client_options().items() if name in _WAITS]
    # Feast reads each value as JSON first: quotes keep a password of digits a string.
    if url.username:
        parts.append(f'username="{unquote(url.username)}"')
    if url.password:
        parts.append(f'password="{unquote(url.password)}"')
    if url.scheme == "rediss":
        parts.append("ssl=true")
    return ",".join(parts)


def feast_environment(settings: Settings) -> dict[str, str]:
    """What feature_repo/feature_store.yaml and definitions.py read from the environment."""
    return {
        "WALRAS_FEAST_REGISTRY": str((settings.home / "feast" / "registry.db").absolute()),
        "WALRAS_FEAST_REDIS": connection_string(settings.redis.get_secret_value()),
        "WALRAS_FEAST_FEATURES": str(settings.archive_dir / "features"),
    }


def render_feature_store(settings: Settings) -> Path:
    """Fill the repo's feature_store.yaml with a run's places; answers the file under ``<home>/feast``."""
    target = (settings.home / "feast" / "feature_store.yaml").absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    text = (FEATURE_REPO / "feature_store.yaml").read_text()
    # Several workers start at once: each writes a file of its own and puts it in place whole.
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    draft.write_text(Template(text).substitute(feast_environment(settings)))
    draft.chmod(0o600)
    return draft.replace(target)


def apply_feature_repo(settings: Settings) -> bool:
    """Run ``feast apply`` on feature_repo for a run (set-up), unless the same was applied before.

    Sources are not validated: the archive is empty until the first rows are written. Answers whether
    there was something to apply; Feast takes some seconds to start, which a second start saves.

    Raises
    ------
    RuntimeError
        With Feast's last words, if it refuses.
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
    """The run's Feast store, for reading online and offline.

    Raises
    ------
    FileNotFoundError
        If ``feast apply`` has not run yet.
    """
    from feast import FeatureStore

    # The mark is made after `feast apply` is through: a registry alone may be half written.
    if not (settings.home / "feast" / _APPLIED).exists():
        raise FileNotFoundError(
            f"{settings.home}/feast/{_APPLIED}: expected an applied feature repo; apply_feature_repo makes it"
        )
    return FeatureStore(fs_yaml_file=render_feature_store(settings))


class FeastOnlineWriter:
    """Writes the rows of one call to Feast's online store; an output sink for the host.

    If the store cannot be reached, the newest row per listing waits, is counted, and goes with the
    next call; the host does not stop for a picture that the next minute repaints anyway.

    Parameters
    ----------
    settings : the run's; opened at the first write, in the process that writes.

    Attributes
    ----------
    counts : rows written, rows that wait, calls that failed; for metrics.
    """

    streams: frozenset[str] = frozenset({"features"})

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: FeatureStore | None = None
        self._view: Any = None
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self.counts = {"features_written": 0, "features_waiting": 0, "feature_writes_failed": 0}

    def write(self, outputs: Sequence[Output]) -> None:
        """Write the rows of one call, and those that wait from before; called with none, tries again."""
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
            log.warning("Feast online store: %d rows wait: %s", len(self._waiting), error)
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
            If the online store does not take it.
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
    """A ``features`` value in the types of Feast's online store: entity key, values, event time, created.

    Null is an empty Value, which Feast reads back as None.
    """
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    key = EntityKey(join_keys=[KEY], entity_values=[_value("string_val", value[KEY])])
    values = {name: _value(field, value[name]) for name, field in _FIELDS}
    return key, values, datetime.fromtimestamp(value[EVENT_TIMESTAMP] / 1000, UTC), None


@lru_cache(maxsize=8192)
def _value(field: str, value: Any) -> Any:
    """A protobuf value; counts, states and nulls repeat from row to row, so most are made once."""
    from feast.protos.feast.types.Value_pb2 import Value

    return Value() if value is None else Value(**{field: value})


def flink_row_type() -> Any:
    """The offline row as a Flink row type, for feature_job's Parquet sink."""
    from pyflink.table import DataTypes

    types = {
        "STRING": DataTypes.STRING(),
        "BIGINT": DataTypes.BIGINT(),
        "DOUBLE": DataTypes.DOUBLE(),
        "TIMESTAMP_MS": DataTypes.TIMESTAMP(3),
    }
    return DataTypes.ROW([DataTypes.FIELD(name, types[kind]) for name, kind in PARQUET_COLUMNS])
