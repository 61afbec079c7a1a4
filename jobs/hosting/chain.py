"""All jobs of the pipeline chained in one process, without Kafka and Flink.

    lines → cells (DuckDB) → batches → features, sums → estimates → evidence, decisions, tables

The cell query, the logics, their settings and their host are those of the four jobs. Left out are topics, parallel
subtasks, checkpoints and sinks. A replay can therefore be checked before a platform is started, and a test can
read every intermediate stream. Segments of customers (Redis) are not computed; quotes and orders carry theirs.

The order is the same in every run: a minute's facts in the order of arrival, then its batches by bucket in every
job, then the estimates that they gave. The current time is the event time, as in a replay on the platform
(``WALRAS_CLOCK=data``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import orjson

from features.bucket_logic import BucketLogic, Output
from features.elasticity.elasticity_logic import SUMS, ElasticityLogic
from features.elasticity.pooling.pooling_logic import ESTIMATES, PoolingLogic
from features.feature_logic import FeatureLogic
from jobs.hosting.cell_query import CellQuery, FactLine, Lines
from jobs.hosting.host import BATCH, Host, HostedBucket
from jobs.pricing.bucket.repricing_logic import FACTS, REPLAY_FACTS, RepricingLogic
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings, feature_settings
from schemas.listings import bucket_of, group_key
from schemas.topics import INPUTS, Topic

FEATURES, REPRICING = "features", "repricing"


class _StatelessHost(Host):
    """A host that saves no bucket and therefore never evicts one: an evicted bucket could not be restored."""

    def __init__(self, make_logic: Callable[[], BucketLogic]) -> None:
        super().__init__(make_logic, None, max_live_buckets=None)

    def save(self, hosted: HostedBucket) -> bytes:
        return b""


class _HostedJob:
    """A hosted logic with a saved state per key, as in Flink; optionally restarted every few rows."""

    def __init__(self, make_logic: Callable[[], BucketLogic], restart_every: int, duplicate: bool) -> None:
        self._make_logic = make_logic
        self._restart_every, self._duplicate = restart_every, duplicate
        self._saved: dict[str, bytes] = {}
        self._taken = 0
        self._host = self._start()

    def _start(self) -> Host:
        return Host(self._make_logic, None) if self._restart_every else _StatelessHost(self._make_logic)

    def take(self, key: str, kind: str, address: str, payload: bytes) -> list[Output]:
        if self._restart_every and self._taken % self._restart_every == self._restart_every - 1:
            self._host = self._start()
        self._taken += 1
        outputs: list[Output] = []
        for _ in range(2 if self._duplicate else 1):
            given, saved = self._host.process((key, kind, address, payload), partial(self._saved.get, key))
            if saved:
                self._saved[key] = saved
            outputs += given
        return outputs


class Call(NamedTuple):
    """A row for a bucket's features or repricing; ``key`` is the bucket's number."""

    job: str
    key: str
    kind: str
    address: str
    payload: bytes


class BucketJobs:
    """The jobs whose buckets are independent of each other: features and repricing."""

    def __init__(self, policy: Policy, *, restart_every: int = 0, duplicate: bool = False) -> None:
        self._jobs = {
            FEATURES: _HostedJob(partial(FeatureLogic, feature_settings(policy)), restart_every, duplicate),
            REPRICING: _HostedJob(partial(RepricingLogic, policy), restart_every, duplicate),
        }

    def take(self, call: Call) -> list[Output]:
        """Process a row in its bucket and return the outputs."""
        return self._jobs[call.job].take(call.key, call.kind, call.address, call.payload)

    def run(self, steps: Iterable[Output | Call]) -> Iterator[Output]:
        """Yield the steps with every call replaced by its outputs."""
        for step in steps:
            if isinstance(step, Output):
                yield step
            else:
                yield from self.take(step)


class Runner(Protocol):
    """Runs the calls of a chain: in this process (:class:`BucketJobs`) or in worker processes."""

    def run(self, steps: Iterable[Output | Call]) -> Iterator[Output]:
        """Yield the steps with every call replaced by its outputs."""
        ...


class Chain:
    """The jobs of one deployment in one process.

    Parameters
    ----------
    policy : the policy, from which the settings of learning and features follow too.
    buckets : buckets of the deployment.
    inputs : the input topics with this run's lateness (:func:`schemas.topics.inputs_at_speed`).
    facts : inputs whose records are processed on arrival; offers and stock also arrive with their minute's batch.
    fact_lead_ms : how far ahead of their minute's batch offers and stock levels are processed, ms; negative: after
        it.
    restart_every : restart every job from its saved state after so many rows; 0: never.
    duplicate : process every batch and fact twice, as after a restart from a checkpoint.
    runner : runs features and repricing; None: :class:`BucketJobs` in this process.
    """

    def __init__(
        self,
        policy: Policy,
        buckets: int,
        *,
        inputs: Sequence[Topic] = INPUTS,
        facts: Sequence[str] = FACTS,
        fact_lead_ms: int = 0,
        restart_every: int = 0,
        duplicate: bool = False,
        runner: Runner | None = None,
    ) -> None:
        self._buckets, self._inputs = buckets, inputs
        self._facts, self._ahead_ms = facts, fact_lead_ms
        learning = elasticity_settings(policy)
        self._learning = _HostedJob(partial(ElasticityLogic, learning), restart_every, duplicate)
        self._pooling = _HostedJob(partial(PoolingLogic, learning), restart_every, duplicate)
        self._runner = runner or BucketJobs(policy, restart_every=restart_every, duplicate=duplicate)
        self._estimates = self._sums = 0

    def run(self, lines: Lines, closed_ms: int | None = None) -> Iterator[Output]:
        """Yield the outputs of every stream, including ``cells`` (a bucket's batch), ``sums`` and ``features``.

        Parameters
        ----------
        lines : raw lines by topic. Without ticks a bucket has batches only in minutes with data.
        closed_ms : end of the last minute that closes; None: every minute closes.
        """
        return self.run_query(CellQuery(lines, self._inputs), closed_ms)

    def run_query(self, query: CellQuery, closed_ms: int | None = None) -> Iterator[Output]:
        """Yield what :meth:`run` yields, for lines that are judged already.

        One minute's batches are in memory at a time.
        """
        return self._runner.run(self._steps(query, closed_ms))

    def _steps(self, query: CellQuery, closed_ms: int | None) -> Iterator[Output | Call]:
        """Yield outputs and calls in order; learning runs here, since it needs no other job's outputs."""
        facts: dict[int, list[FactLine]] = {}
        for name in self._facts:
            fact_lead_ms = self._ahead_ms if name not in REPLAY_FACTS else 0
            for fact in query.facts(name):
                facts.setdefault(fact.window_end_ms - fact_lead_ms, []).append(fact)
        waiting = iter(sorted(facts))
        due = next(waiting, None)
        for window, batches in groupby(query.batches(self._buckets), key=itemgetter(0)):
            if closed_ms is not None and window > closed_ms:
                break
            while due is not None and due <= window:
                yield from self._take_facts(facts.pop(due))
                due = next(waiting, None)
            estimates: list[Output] = []
            for _, bucket, rows in batches:
                for step in self._batch(bucket, window, rows):
                    if isinstance(step, Output) and step.stream == ESTIMATES:
                        estimates.append(step)
                    yield step
            for estimate in estimates:
                yield from self._estimate(estimate)
        while due is not None:
            yield from self._take_facts(facts.pop(due))
            due = next(waiting, None)

    def _take_facts(self, facts: Iterable[FactLine]) -> Iterator[Call]:
        for fact in sorted(facts, key=lambda f: (f.kafka_ts_ms, f.stream, f.partition, f.offset)):
            value = orjson.loads(fact.line)
            keys = [self._bucket(value)] if "price_group" in value else [str(b) for b in range(self._buckets)]
            for key in keys:
                yield Call(REPRICING, key, fact.stream, fact.address, fact.line)

    def _batch(self, bucket: int, window: int, rows: list[dict[str, Any]]) -> Iterator[Output | Call]:
        value = {"bucket": bucket, "window_end_ms": window, "rows": rows}
        key, payload, address = str(bucket), orjson.dumps(value), f"minute-{window}"
        yield Output("cells", key, value, window)
        yield Call(FEATURES, key, BATCH, address, payload)
        for sums in self._learning.take(key, BATCH, address, payload):
            yield sums
            if sums.stream == SUMS:
                self._sums += 1
                yield from self._pooling.take(sums.key, SUMS, f"sums-0-{self._sums}", _bytes(sums.value))
        yield Call(REPRICING, key, BATCH, address, payload)

    def _estimate(self, estimate: Output) -> Iterator[Call]:
        self._estimates += 1
        key, address = self._bucket(estimate.value), f"estimates-0-{self._estimates}"
        payload = _bytes(estimate.value)
        yield Call(FEATURES, key, ESTIMATES, address, payload)
        yield Call(REPRICING, key, ESTIMATES, address, payload)

    def _bucket(self, value: Mapping[str, Any]) -> str:
        return str(bucket_of(group_key(value["tenant"], value["market"], value["price_group"]), self._buckets))


def _bytes(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
