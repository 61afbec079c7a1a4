"""elasticity_job: a bucket's minutes → each listing's statistics → pooled and shrunk estimates.

Topology only, in two steps. Per bucket, :class:`features.elasticity.elasticity_logic.ElasticityLogic` closes
periods, and every competing model updates its listings' statistics and forecasts their next orders. Per category,
:class:`features.elasticity.pooling.pooling_logic.PoolingLogic` takes the listings' cumulative statistics, whose
order does not matter, pools products over markets and shrinks them in their category, with the model whose
forecasts score best. Each call of the second step costs as much as the category is large, so the statistics that a
period's end produces are buffered (decision 28). In a replay, where latency does not matter and wall time is not
event time, each is processed by itself.
"""

from __future__ import annotations

from functools import partial

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StatementSet, StreamTableEnvironment

from features.elasticity.elasticity_logic import DRIFT, ElasticityLogic
from features.elasticity.pooling.pooling_logic import ESTIMATES, MODEL_REPORTS, PoolingLogic
from jobs.connectors.flink.bucket_function import host_in_flink
from jobs.connectors.flink.bucket_tables import (
    batch_rows,
    buffer_facts,
    output_view,
    outputs_to_topics,
    union_rows,
)
from jobs.connectors.flink.environment import configure_for_throughput
from jobs.hosting.host import Host
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings
from jobs.runtime.settings import Settings

JOB = "elasticity_job"
STATISTICS_BUFFER_S, SLOW_STATISTICS_BUFFER_S = 1, 10
"""Wall seconds for which a category's statistics are buffered. The second value applies where a worker cannot keep
all its buckets in memory and a minute's work takes about that long.
"""


def learning_host(settings: Settings) -> Host:
    """Return a host of the per-bucket learners."""
    make_logic = partial(ElasticityLogic, elasticity_settings(Policy.load(settings.policy)))
    return Host(make_logic, settings.host_clock, max_live_buckets=settings.max_live_buckets)


def pooling_host(settings: Settings) -> Host:
    """Return a host of the per-category pools."""
    make_logic = partial(PoolingLogic, elasticity_settings(Policy.load(settings.policy)))
    return Host(make_logic, settings.host_clock)


def build(env: StreamExecutionEnvironment, table_env: StreamTableEnvironment, settings: Settings) -> StatementSet:
    """Declare the topology; execute nothing."""
    configure_for_throughput(env)
    statements = table_env.create_statement_set()
    rows = union_rows(table_env, [batch_rows(table_env, JOB, settings)])
    learned = output_view(
        table_env,
        host_in_flink(rows, partial(learning_host, settings), f"{JOB}.series"),
        "learned",
    )
    sums = (
        f"SELECT `key`, 'sums' AS kind, '' AS address, `value` AS payload FROM {learned} WHERE `stream` = 'sums'"
    )
    if settings.host_clock:
        seconds = STATISTICS_BUFFER_S if settings.all_buckets_live else SLOW_STATISTICS_BUFFER_S
        sums = buffer_facts(table_env, "sums", sums, seconds=seconds, as_one=True)
    outputs_to_topics(statements, table_env, learned, (DRIFT,), settings)
    sums_rows = union_rows(table_env, [sums])
    pooled = output_view(
        table_env, host_in_flink(sums_rows, partial(pooling_host, settings), f"{JOB}.pooled"), "pooled"
    )
    outputs_to_topics(statements, table_env, pooled, (ESTIMATES, MODEL_REPORTS), settings)
    return statements
