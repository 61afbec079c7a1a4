"""Flink environments of the jobs.

Every job has an environment of its own, because a name, a checkpoint folder and the checkpoint to resume from
belong to one job. The settings that all jobs share (restart strategy, intervals, buffers) are in the cluster's
``config.yaml``, so that a job runs unchanged on any cluster.
"""

from __future__ import annotations

import math

from pyflink.common import Configuration
from pyflink.datastream import SlotSharingGroup, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

SLOT_HEAP_MB, SLOT_MANAGED_MB = 16, 32
"""Heap and managed memory in the profile of a slot that names a resource. All tasks share the heap, whatever the
profile reserves; managed memory is what RocksDB and Python's runner get.
"""
BUFFER_BYTES = 4_096
"""Network buffer size where facts need low latency: Flink's minimum, since a buffer is processed as a whole."""
THROUGHPUT_TIMEOUT_MS = 100
"""Buffer and bundle timeout of a job whose results are due once a minute."""
THROUGHPUT_BUNDLE_SIZE = 64
"""Bundle size of such a job.

A checkpoint waits for a bundle's last row, and a row of an evicted bucket takes about 10 ms.
"""
MAX_BUNDLES_PER_SECOND = 8
"""Bundles of one row each took 0.6 of a core at 33 rows a second on a slow machine (decision 37)."""
CHECKPOINT_INTERVAL_FACTOR = 3
"""See :func:`scale_checkpoint_interval`."""


def bundle_size(buckets: int, parallelism: int, speed: float = 1.0) -> int:
    """Return how many rows a Python bundle may hold where facts need low latency.

    It is a small part of a minute's batches and at most about 0.1 s of work. A bundle has a fixed cost, so on a
    fast clock, where a minute's batches arrive within a second, there are at most :data:`MAX_BUNDLES_PER_SECOND`
    bundles a second.

    >>> bundle_size(32, 2), bundle_size(320, 1), bundle_size(3_200, 1)
    (1, 10, 16)
    >>> bundle_size(32, 1, 60)
    4
    """
    rows_a_second = buckets * speed / 60 / parallelism
    return min(16, max(1, buckets // (32 * parallelism), math.ceil(rows_a_second / MAX_BUNDLES_PER_SECOND)))


def set_bundle_size(env: StreamExecutionEnvironment, rows: int) -> None:
    """Limit a Python bundle to so many rows, so that a fact does not wait for a whole minute's batches.

    Rows that arrive while a bundle is processed wait for its last row. A bundle costs a round trip and a thread
    start in the worker, about 5 ms.
    """
    configuration = Configuration()
    configuration.set_string("python.fn-execution.bundle.size", str(rows))
    env.configure(configuration)


def configure_for_throughput(env: StreamExecutionEnvironment) -> None:
    """Let network buffers and Python bundles fill for a tenth of a second, or :data:`THROUGHPUT_BUNDLE_SIZE` rows.

    Only repricing_job needs the cluster's timeout of a few milliseconds. In a job of many tasks, flushing that
    often and a bundle per batch cost more than the work itself.
    """
    env.set_buffer_timeout(THROUGHPUT_TIMEOUT_MS)
    configuration = Configuration()
    configuration.set_string("python.fn-execution.bundle.time", str(THROUGHPUT_TIMEOUT_MS))
    env.configure(configuration)
    set_bundle_size(env, THROUGHPUT_BUNDLE_SIZE)


def enable_unaligned_checkpoints(env: StreamExecutionEnvironment) -> None:
    """Let checkpoint barriers overtake buffered rows, which are stored with the checkpoint.

    With aligned checkpoints an input whose barrier has arrived waits for the other inputs' barriers: a single fact
    would wait for a minute's batches.
    """
    env.get_checkpoint_config().enable_unaligned_checkpoints()


def scale_checkpoint_interval(env: StreamExecutionEnvironment) -> None:
    """Multiply the cluster's checkpoint interval by :data:`CHECKPOINT_INTERVAL_FACTOR`.

    For a job whose checkpoint has hundreds of MB and would take disk and processor time from the other jobs. The
    price is that much more input to read again after a failure.
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
    """Return the DataStream and the Table environment of one job.

    Parameters
    ----------
    name : the job's name on the cluster; also the name of its checkpoint folder.
    parallelism : parallelism of every operator that does not set its own.
    checkpoints : URI of the folder that holds one checkpoint folder per job; None: as the cluster configures it.
    resume_from : URI of the retained checkpoint or savepoint to start from; None: start without state.
    on_disk : keep keyed state in RocksDB with incremental checkpoints, instead of on the heap.
    cached_values : state values that a Python worker caches; None: as the cluster configures it. A host keeps
        objects of its own and reads a value only when it has none, so more cached values only use memory.
    resource : Flink's name of an external resource of which each slot takes one; the job runs only on task
        managers that offer it. None: on any free slot.
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
        # Registered before the plan is made, the group named default applies to every operator.
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
