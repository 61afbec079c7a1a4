"""Flink environments for the job files, and nothing else of Flink.

Every job gets an environment of its own, since a name, a checkpoint folder and the checkpoint to
resume from belong to one job. What all jobs share (restart strategy, intervals, buffers) stands in
the cluster's ``config.yaml``, so that the same job runs unchanged on any cluster.
"""

from __future__ import annotations

import math

from pyflink.common import Configuration
from pyflink.datastream import SlotSharingGroup, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

SLOT_HEAP_MB, SLOT_MANAGED_MB = 16, 32
"""What a slot that names a resource is counted with. Heap is only counted, its tasks share all that there is;
managed memory is what RocksDB and Python's runner get."""
BUFFER_BYTES = 4_096
"""A buffer between tasks where facts are waited for: the least that Flink takes, since it is taken as one."""
THROUGHPUT_TIMEOUT_MS = 100
"""How long a job whose results come by the minute may gather before it passes something on."""
THROUGHPUT_BUNDLE_SIZE = 64
"""And how many rows: a checkpoint waits for a bundle's last row, and a row of a bucket that must be read first
takes some 10 ms."""
MAX_BUNDLES_PER_SECOND = 8
"""Of one row each, they took 0.6 of a core at 33 rows a second on a slow machine (decision 37)."""
CHECKPOINT_INTERVAL_FACTOR = 3
"""See :func:`scale_checkpoint_interval`."""


def bundle_size(buckets: int, parallelism: int, speed: float = 1.0) -> int:
    """How many rows Python takes at a time where facts are waited for: a small part of a minute's batches.

    And some 0.1 s of work at most. A bundle has a cost of its own, so on a fast clock, which brings a minute's
    batches within a second, there are at most :data:`MAX_BUNDLES_PER_SECOND` of them.

    >>> bundle_size(32, 2), bundle_size(320, 1), bundle_size(3_200, 1)
    (1, 10, 16)
    >>> bundle_size(32, 1, 60)
    4
    """
    rows_a_second = buckets * speed / 60 / parallelism
    return min(16, max(1, buckets // (32 * parallelism), math.ceil(rows_a_second / MAX_BUNDLES_PER_SECOND)))


def set_bundle_size(env: StreamExecutionEnvironment, rows: int) -> None:
    """Give Python at most so many rows a bundle, so that a fact does not wait for its whole minute's batches.

    A bundle is taken as one: what comes meanwhile waits for its last row. It costs a round trip and the start and
    end of a thread in the worker, some 5 ms.
    """
    configuration = Configuration()
    configuration.set_string("python.fn-execution.bundle.size", str(rows))
    env.configure(configuration)


def configure_for_throughput(env: StreamExecutionEnvironment) -> None:
    """Let buffers and Python's bundles gather for a tenth of a second, or :data:`THROUGHPUT_BUNDLE_SIZE` rows.

    Only repricing_job needs the cluster's few milliseconds; in a job of many tasks that many flushes, and a
    bundle for every batch, cost more than the work.
    """
    env.set_buffer_timeout(THROUGHPUT_TIMEOUT_MS)
    configuration = Configuration()
    configuration.set_string("python.fn-execution.bundle.time", str(THROUGHPUT_TIMEOUT_MS))
    env.configure(configuration)
    set_bundle_size(env, THROUGHPUT_BUNDLE_SIZE)


def enable_unaligned_checkpoints(env: StreamExecutionEnvironment) -> None:
    """Let a snapshot's barrier overtake the rows that lie before it; they are written with it.

    Without it an input whose barrier has come waits for the others': a lone fact for a minute's batches.
    """
    env.get_checkpoint_config().enable_unaligned_checkpoints()


def scale_checkpoint_interval(env: StreamExecutionEnvironment) -> None:
    """Write snapshots at ``CHECKPOINT_INTERVAL_FACTOR`` times the cluster's interval.

    For a job whose snapshot is hundreds of MB, each of which takes the disk and the processor from the others;
    what it costs is that much more to read again after a failure.
    """
    snapshots = env.get_checkpoint_config()
    snapshots.set_checkpoint_interval(CHECKPOINT_INTERVAL_FACTOR * snapshots.get_checkpoint_interval())


def job_environment(
    name: str,
    parallelism: int,
    *,
    checkpoints: str | None = None,
    resume_from: str | None = None,
    on_disk: bool = False,
    cached_values: int | None = None,
    resource: str | None = None,
) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """Environment of one job.

    Parameters
    ----------
    name : the job's name on the cluster; also the name of its folder of checkpoints.
    parallelism : subtasks of every operator that does not say otherwise.
    checkpoints : URI of the folder that holds one folder per job; None: as the cluster says.
    resume_from : URI of the retained checkpoint or savepoint to start from; None: from nothing.
    on_disk : keep keyed state in RocksDB, with incremental checkpoints, instead of on the heap.
    cached_values : state values of which a Python worker keeps a copy; None: as the cluster says. A host keeps
        objects of its own and asks for a value when it has none, so that more copies only fill the memory.
    resource : Flink's name of an external resource, of which each slot takes one: the job runs where it is
        offered and nowhere else. None: wherever a slot is free.
    """
    configuration = Configuration()
    configuration.set_string("pipeline.name", name)
    if checkpoints:
        configuration.set_string("execution.checkpointing.dir", f"{checkpoints.rstrip('/')}/{name}")
    if on_disk:
        configuration.set_string("state.backend.type", "rocksdb")
        configuration.set_string("execution.checkpointing.incremental", "true")
    if cached_values:
        configuration.set_string("python.state.cache-size", str(cached_values))
    if resume_from:
        configuration.set_string("execution.state-recovery.path", resume_from)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_parallelism(parallelism)
    if resource:
        # Named before the plan is made, Flink's default group is every operator's.
        env.register_slot_sharing_group(
            SlotSharingGroup.builder("default")
            .set_cpu_cores(1.0)
            .set_task_heap_memory_mb(SLOT_HEAP_MB)
            .set_managed_memory_mb(SLOT_MANAGED_MB)
            .set_external_resource(resource, 1.0)
            .build()
        )
    table_env = StreamTableEnvironment.create(env)
    table_env.get_config().set("pipeline.name", name)
    return env, table_env
