"""The only reader of the environment.

A setting comes from, in this order: an argument, the environment (``WALRAS_…``), the file that the
local platform writes when it starts (``<home>/run/platform.env``), the default here. So every
command finds the running platform without being told where it is.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.runtime.clock import Clock
from jobs.runtime.pseudonym import PUBLISHED_KEY
from schemas.topics import Topic, inputs_of_clock, lateness_of_clock

KEY_FILE = Path("run") / "pseudonym.key"
"""The generated pseudonym key, below a run's state folder."""
KEY_COMMAND = '`python -c "import secrets; print(secrets.token_hex(32))"`'
DATA_CLOCK = "data"
"""The clock of a replay: hosted logics take the event time of what they are given."""


class PseudonymKeyError(RuntimeError):
    """No usable key for customers' pseudonyms; says where it was looked for and how to make one."""


SETTINGS_ERRORS = (ValidationError, PseudonymKeyError)
"""What reading the settings raises when one of them is wrong; the text says what to do."""


def _home() -> Path:
    return Path(os.environ.get("WALRAS_HOME", ".walras"))


class Settings(BaseSettings):
    """Where things are and how big they are; business numbers live in the policy instead."""

    model_config = SettingsConfigDict(env_prefix="WALRAS_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=_home, description="the one folder that holds all state of a run")
    kafka: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers")
    redis: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis URL")
    flink: str = Field("127.0.0.1:8081", description="Flink REST address")
    clock: str = Field("wall", description="'wall', 'sim:<start ms>:<wall ms>:<speed>' or 'data'")
    tenant: str = Field("demo", description="tenant that the simulator and the mappings write for")
    buckets: int = Field(32, ge=1, le=65_536, description="buckets of a deployment, about listings / 32")
    parallelism: int = Field(2, ge=1, description="parallelism of every job")
    market_rate: float = Field(5_000.0, gt=0, description="events a wall second of the simulated market")
    archive: bool = Field(True, description="write raw events, decisions and cells to Parquet; features always")
    live_buckets: int = Field(
        400, ge=1, description="buckets of a job that one worker keeps as objects, some 300 kB each"
    )
    live_buckets_of_many: int = Field(
        32, ge=1, description="the same when a worker has more buckets than that: the next minute asks for others"
    )
    policy: Path = Field(Path("infra/config/policy.yaml"), description="the business numbers")
    replay_memory: str = Field(
        "512MB", description="what DuckDB may hold in memory in a replay; the rest is on disk"
    )
    replay_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="processes of `jobs.replay --alone` that keep the buckets; 1: the main process keeps them",
    )
    edge_host: str = "127.0.0.1"
    edge_port: int = Field(8080, ge=0, le=65_535)
    metrics_port: int = Field(0, ge=0, le=65_535, description="Prometheus port of a plain process; 0: none")
    edge_tables: int = Field(
        100_000,
        ge=1,
        description="price tables, and list prices, that an edge process keeps; the rest is in Redis",
    )
    edge_segments: int = Field(200_000, ge=1, description="customers' segments that an edge process keeps")
    segments_waiting: int = Field(
        100_000, ge=1, description="customers' counts that wait in a worker while Redis is away"
    )
    edge_secret: SecretStr | None = Field(
        None, description="key of customers' pseudonyms; None: the key file that the local platform generates"
    )

    @classmethod
    def load(cls, **overrides: object) -> Settings:
        """Read the settings of the running platform.

        Raises
        ------
        pydantic.ValidationError
            Naming the setting, what was expected and what came.
        """
        home = Path(str(overrides.get("home") or _home()))
        return cls(_env_file=home / "run" / "platform.env", **overrides)  # type: ignore[call-arg,arg-type]

    @field_validator("clock")
    @classmethod
    def _clock_reads(cls, value: str) -> str:
        if value != DATA_CLOCK:
            Clock.parse(value)
        return value

    @field_validator("edge_secret")
    @classmethod
    def _key_is_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value() in ("", PUBLISHED_KEY):
            raise ValueError(
                "WALRAS_EDGE_SECRET: expected a secret key for customers' pseudonyms, got an empty text or the "
                f"published default of earlier versions; set it to the output of {KEY_COMMAND}, or unset it to use "
                f"the key that the local platform generates ({KEY_FILE} below its state folder)"
            )
        return value

    @property
    def key_file(self) -> Path:
        """File of the generated pseudonym key; the local platform writes it at its first start."""
        return self.home / KEY_FILE

    @cached_property
    def pseudonym_key(self) -> SecretStr:
        """Key of customers' pseudonyms: ``edge_secret`` if set, else the content of ``key_file``.

        Raises
        ------
        PseudonymKeyError
            If neither is there.
        """
        if self.edge_secret is not None:
            return self.edge_secret
        try:
            key = self.key_file.read_text().strip()
        except OSError as error:
            raise PseudonymKeyError(
                "no key for customers' pseudonyms: expected WALRAS_EDGE_SECRET, or a readable file "
                f"{self.key_file} ({error.strerror}); start the local platform once, which generates it, or set "
                f"the variable to the output of {KEY_COMMAND}"
            ) from error
        if key in ("", PUBLISHED_KEY):
            raise PseudonymKeyError(
                f"{self.key_file}: expected a random key, got an empty text or the published default of earlier "
                "versions; delete the file and start the platform, which generates another"
            )
        return SecretStr(key)

    @cached_property
    def run_clock(self) -> Clock:
        """The run's Clock; in a replay the wall's, for the few who do not live in the data's time."""
        return Clock() if self.clock == DATA_CLOCK else Clock.parse(self.clock)

    @property
    def host_clock(self) -> Clock | None:
        """The Clock of hosted logics; None in a replay, where time is what the data say."""
        return None if self.clock == DATA_CLOCK else self.run_clock

    @property
    def all_buckets_live(self) -> bool:
        """Whether each of a job's workers keeps the objects of all its buckets.

        >>> [Settings(buckets=n, parallelism=p).all_buckets_live for n, p in ((32, 2), (1_000, 2), (1_000, 4))]
        [True, False, True]
        """
        return self.buckets <= self.live_buckets * self.parallelism

    @property
    def max_live_buckets(self) -> int:
        """How many buckets' objects each of a job's workers keeps at most."""
        return self.live_buckets if self.all_buckets_live else self.live_buckets_of_many

    @property
    def lateness_at_least_ms(self) -> int:
        """What a topic's lateness is at least in this run; 0 on the wall's clock."""
        return lateness_of_clock(self.run_clock.speed)

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """The input topics with the lateness and memory of this run."""
        return inputs_of_clock(self.run_clock.speed)

    @property
    def lateness_ms(self) -> int:
        """The largest lateness of the inputs in this run: what a closed minute waits for."""
        return max(topic.lateness_ms for topic in self.inputs)

    @property
    def minute_progress_file(self) -> Path:
        """Where the local platform's keeper notes the newest closed minute (:mod:`jobs.monitoring.minute_progress`)."""
        return self.home / "run" / "minutes.json"

    @property
    def archive_dir(self) -> Path:
        """Parquet root: ``raw/``, ``cells/``, ``decisions/``, ``features/``."""
        return (self.home / "archive").absolute()
