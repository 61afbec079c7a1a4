"""Settings of a run; this module alone reads the environment.

A setting comes from the first of these that has it: an argument, the environment (``WALRAS_…``), the file that the
local platform writes when it starts (``<home>/run/platform.env``), the default. So every command finds the running
platform without options.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.runtime.addresses import protected_url
from jobs.runtime.clock import Clock
from jobs.runtime.provider_settings import ProviderSettings
from jobs.runtime.pseudonym import PUBLISHED_KEY
from schemas.topics import Topic, inputs_at_speed, min_lateness_ms

KEY_FILE = Path("run") / "pseudonym.key"
"""The generated pseudonym key, relative to a run's state folder."""
SIGNING_KEY_FILE = Path("run") / "commands.pem"
"""The generated key that signs commands, relative to a run's state folder."""
KEY_COMMAND = '`python -c "import secrets; print(secrets.token_hex(32))"`'
POLICY_FILE = Path(__file__).resolve().parents[2] / "infra" / "config" / "policy.yaml"
"""The policy file that comes with the project, in a checkout as in an installed wheel."""
DATA_CLOCK = "data"
"""The clock of a replay: hosted logics use the event time of their input as the current time."""


class PseudonymKeyError(RuntimeError):
    """No usable key for customers' pseudonyms; the message names the places read and how to make a key."""


SETTINGS_ERRORS = (ValidationError, PseudonymKeyError)
"""What loading the settings may raise; the message names the setting and what to do."""


def _home() -> Path:
    return Path(os.environ.get("WALRAS_HOME", ".walras"))


class Settings(BaseSettings, ProviderSettings):
    """Addresses, folders and sizes of a run. Business numbers are in the policy."""

    model_config = SettingsConfigDict(env_prefix="WALRAS_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=_home, description="folder that holds all state of a run")
    kafka: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers")
    redis: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis URL")
    flink: str = Field("127.0.0.1:8081", description="Flink REST address")
    clock: str = Field("wall", description="'wall', 'sim:<start ms>:<wall ms>:<speed>' or 'data'")
    tenant: str = Field("demo", description="tenant of the simulator's records and of commands")
    buckets: int = Field(32, ge=1, le=65_536, description="buckets of a deployment; about listings / 32")
    parallelism: int = Field(2, ge=1, description="parallelism of every job")
    market_rate: float = Field(5_000.0, gt=0, description="events per wall second of the simulated market")
    archive: bool = Field(
        True, description="archive raw events, decisions and cells to Parquet; features are always archived"
    )
    live_buckets: int = Field(
        400, ge=1, description="most buckets that a worker keeps as objects, about 300 kB each"
    )
    live_buckets_of_many: int = Field(
        32,
        ge=1,
        description="the same for a worker with more buckets than that: every minute evicts them anyway",
    )
    policy: Path = Field(POLICY_FILE, description="file of the business numbers")
    replay_memory: str = Field("512MB", description="DuckDB's memory limit in a replay; the rest spills to disk")
    replay_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="worker processes of `jobs.replay --alone`; 1: the main process runs all buckets",
    )
    edge_host: str = "127.0.0.1"
    edge_port: int = Field(8080, ge=0, le=65_535)
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Prometheus port of a process outside Flink; 0: none"
    )
    edge_tables: int = Field(
        100_000,
        ge=1,
        description="most price tables, and most list prices, that an edge process caches",
    )
    edge_segments: int = Field(
        50_000, ge=2, description="most customers' segments, and most sessions' kept quotes, that an edge caches"
    )
    edge_rendered: int = Field(
        10_000, ge=2, description="most rendered quotes, one per table, source and segment, that an edge caches"
    )
    edge_shoppers: int = Field(50_000, ge=2, description="most requests' pseudonyms that an edge process caches")
    edge_spool_mb: int = Field(
        512, ge=1, description="most megabytes of quotes that an edge process stores while Kafka is unreachable"
    )
    edge_key_per_second: int = Field(
        2_000, ge=1, description="quotes per second of one access key, over all edges; more are answered with 429"
    )
    edge_address_per_second: int = Field(
        4_000, ge=1, description="quotes per second of one address, over all edges and keys"
    )
    edge_proxies: str | None = Field(
        None,
        description="addresses or networks of the proxies in front of the edge, with commas between them, whose "
        "X-Forwarded-For names the caller; None: the address of the connection is the caller's",
    )
    edge_probing_window_s: int = Field(
        600, ge=1, description="seconds in which a public key's requests from one network are counted for probing"
    )
    edge_probing_listings: int = Field(
        1_000, ge=1, description="most listings that one network may ask for in that time with a public key"
    )
    edge_probing_customers: int = Field(
        20, ge=1, description="most customers for whom it may ask the price of one listing in that time"
    )
    edge_probing_prices: int = Field(
        5, ge=1, description="most different prices of one listing that it is answered in that time"
    )
    edge_probing_entries: int = Field(
        300_000,
        ge=1,
        description="most listings, customers and prices that an edge process remembers of all such networks",
    )
    edge_probing_delay_s: float = Field(
        2.0, ge=0, le=60, description="seconds by which a request is delayed while its network is probing"
    )
    edge_probing_delayed: int = Field(
        100, ge=0, description="most requests that an edge process delays at once; more are answered with 429"
    )
    segments_waiting: int = Field(
        100_000, ge=1, description="most customers' counts that a worker queues while Redis is unreachable"
    )
    console_host: str = Field("127.0.0.1", description="address of the operator port")
    console_port: int = Field(8090, ge=0, le=65_535, description="port of the console and of the operators' API")
    console_url: str | None = Field(
        None,
        description="URL at which browsers reach the operator port: that of a proxy; None: its own address",
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file of the certificate of both ports; None: plain HTTP, for loopback or behind a proxy",
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key")
    command_key: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="public key that verifies commands and access keys; required on every clock but 'data'",
    )
    edge_secret: SecretStr | None = Field(
        None, description="key of customers' pseudonyms; None: the key file that the local platform generates"
    )

    @classmethod
    def load(cls, **overrides: object) -> Settings:
        """Return the settings of the running platform.

        Raises
        ------
        pydantic.ValidationError
            Naming the setting, what was expected and what was given.
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
                "WALRAS_EDGE_SECRET: expected a secret key for customers' pseudonyms, got an empty text or a "
                f"published default; set it to the output of {KEY_COMMAND}, or unset it to use the key that the "
                f"local platform generates ({KEY_FILE} in its state folder)"
            )
        return value

    @field_validator("console_url")
    @classmethod
    def _url_is_protected(cls, value: str | None) -> str | None:
        return None if value is None else protected_url(value, "WALRAS_CONSOLE_URL")

    @property
    def edge_address(self) -> str:
        """URL of the quote port on its own machine."""
        scheme = "http" if self.tls_certificate is None else "https"
        return f"{scheme}://{self.edge_host}:{self.edge_port}"

    @property
    def console_address(self) -> str:
        """URL of the operator port for browsers, without a slash at its end.

        >>> Settings(console_url="https://prices.example.org/").console_address, Settings().console_address
        ('https://prices.example.org', 'http://127.0.0.1:8090')
        """
        scheme = "http" if self.tls_certificate is None else "https"
        return (self.console_url or f"{scheme}://{self.console_host}:{self.console_port}").rstrip("/")

    @property
    def key_file(self) -> Path:
        """File of the generated pseudonym key, which the local platform writes at its first start."""
        return self.home / KEY_FILE

    @property
    def signing_key_file(self) -> Path:
        """Private key that signs commands; the local platform writes it at its first start."""
        return self.home / SIGNING_KEY_FILE

    @property
    def keys_folder(self) -> Path:
        """Folder of the access keys that the local platform issues, and of the codes that sign in once."""
        return self.home / "run" / "keys"

    @cached_property
    def pseudonym_key(self) -> SecretStr:
        """Key of customers' pseudonyms: ``edge_secret`` if set, else the content of ``key_file``.

        Raises
        ------
        PseudonymKeyError
            If there is neither.
        """
        if self.edge_secret is not None:
            return self.edge_secret
        try:
            key = self.key_file.read_text().strip()
        except OSError as error:
            raise PseudonymKeyError(
                "no key for customers' pseudonyms: expected WALRAS_EDGE_SECRET, or a readable file "
                f"{self.key_file} ({error.strerror}); start the local platform once, which generates the key, or "
                f"set the variable to the output of {KEY_COMMAND}"
            ) from error
        if key in ("", PUBLISHED_KEY):
            raise PseudonymKeyError(
                f"{self.key_file}: expected a random key, got an empty text or a published default; delete the "
                "file and start the platform, which generates a new one"
            )
        return SecretStr(key)

    @cached_property
    def run_clock(self) -> Clock:
        """The run's Clock. In a replay it is the wall clock, for processes whose time is not event time."""
        return Clock() if self.clock == DATA_CLOCK else Clock.parse(self.clock)

    @property
    def host_clock(self) -> Clock | None:
        """The Clock of hosted logics; None in a replay, where the current time is the input's event time."""
        return None if self.clock == DATA_CLOCK else self.run_clock

    @property
    def all_buckets_live(self) -> bool:
        """Whether each worker of a job can keep the objects of all its buckets in memory.

        >>> [Settings(buckets=n, parallelism=p).all_buckets_live for n, p in ((32, 2), (1_000, 2), (1_000, 4))]
        [True, False, True]
        """
        return self.buckets <= self.live_buckets * self.parallelism

    @property
    def max_live_buckets(self) -> int:
        """Most buckets whose objects a worker of a job keeps in memory."""
        return self.live_buckets if self.all_buckets_live else self.live_buckets_of_many

    @property
    def lateness_at_least_ms(self) -> int:
        """Lower bound of every topic's lateness in this run, ms; 0 on the wall clock."""
        return min_lateness_ms(self.run_clock.speed)

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """The input topics with this run's lateness and retention of seen records."""
        return inputs_at_speed(self.run_clock.speed)

    @property
    def lateness_ms(self) -> int:
        """The largest lateness of the inputs in this run, ms; a minute closes this long after its end."""
        return max(topic.lateness_ms for topic in self.inputs)

    @property
    def minute_progress_file(self) -> Path:
        """File of recent samples of the newest closed minute (:mod:`jobs.monitoring.minute_progress`)."""
        return self.home / "run" / "minutes.json"

    @property
    def quote_spool_dir(self) -> Path:
        """Folder in which edge processes store quotes while Kafka is unreachable."""
        return self.home / "run" / "quotes"

    @property
    def archive_dir(self) -> Path:
        """Root folder of the Parquet archive: ``raw/``, ``cells/``, ``decisions/``, ``features/``."""
        return (self.home / "archive").absolute()
