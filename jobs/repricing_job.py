"""repricing_job: cells, beliefs and facts → evidence → decisions → price tables, in Kafka and in Redis.

Topology only. The logic is :class:`jobs.pricing.bucket.repricing_logic.RepricingLogic` per bucket. Facts do not
wait for the minute: a rival's changed price or stock level, an event and a command come straight from their
topics, judged by the same predicates as in demand_job. With so many listings that workers evict buckets, facts are
buffered for a quarter of a second. Tables go to Redis inside the call that made them, and to Kafka, the system of
record.

In a replay (``WALRAS_CLOCK=data``) rivals' prices and stock levels arrive with their minute's batch: years of
recorded data are read in seconds, and a small topic would be read to its end before the first cells are counted.
"""

from __future__ import annotations

from functools import partial

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StatementSet, StreamTableEnvironment

from jobs.access.key_files import verification_key
from jobs.access.signatures import verifier
from jobs.connectors.flink.bucket_function import host_in_flink
from jobs.connectors.flink.bucket_tables import (
    ChangeFilter,
    batch_rows,
    buffer_facts,
    estimate_rows,
    fact_rows,
    output_view,
    outputs_to_topics,
    separate_rows,
    union_rows,
)
from jobs.connectors.flink.environment import (
    BUFFER_BYTES,
    bundle_size,
    enable_unaligned_checkpoints,
    set_bundle_size,
)
from jobs.connectors.flink.java_functions import add_java_jar
from jobs.connectors.redis.output_sinks import RedisTableSink
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.hosting.fallback_counts import FallbackCounts
from jobs.hosting.host import Host, OutputSink
from jobs.pricing.bucket.repricing_logic import FACTS, REPLAY_FACTS, RepricingLogic
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings

JOB = "repricing_job"
FACT_BUFFER_S = 0.25
"""Wall seconds for which facts are buffered where a worker cannot keep all its buckets in memory.

There a single fact would cost a restore and a save of its bucket, about 10 ms.
"""
MAX_OFFER_AGE_S = 10
"""Wall seconds since its Kafka timestamp beyond which such a worker leaves a fact to its minute's batch, as in a
replay.

The initial load of 100,000 listings has four facts per listing.
"""
CHANGE_FILTERS = {
    "offers": ChangeFilter(
        "tenant, market, sku, competitor",
        "CAST(price_minor AS STRING), CAST(shipping_minor AS STRING), CAST(in_stock AS STRING), currency, "
        "CAST(pack_size AS STRING), CAST(match_confidence AS STRING)",
    ),
    "stock": ChangeFilter("tenant, market, sku", "CAST(on_hand > 0 AS STRING)"),
}
"""A rival's price or stock level that repeats the previous one, as most of a scrape does, waits for its minute's
batch.
"""
CHANGE_FILTER_TTL = "24 h"
"""How long a subject's previous fact is kept; after that its next fact counts as changed."""
STREAMS = ("evidence", "decisions", "tables", "policies", "policy_changes", "refused_commands")


def repricing_host(settings: Settings) -> Host:
    """Return a host of repricing logics, which publishes tables to Redis inside the call.

    In a replay no command is verified, since the input is the operator's own files.

    Raises
    ------
    jobs.access.signatures.CommandKeyError
        If the run is no replay and has no public key that verifies commands.
    """
    tables = RedisPriceTables(settings.redis.get_secret_value())
    policy = Policy.load(settings.policy)
    key = verification_key(settings) if settings.host_clock else None
    verify = verifier(key) if key else None
    sinks: list[OutputSink] = [RedisTableSink(tables), FallbackCounts()]
    return Host(partial(RepricingLogic, policy, verify=verify), settings.host_clock, sinks, settings.live_buckets)


def build(env: StreamExecutionEnvironment, table_env: StreamTableEnvironment, settings: Settings) -> StatementSet:
    """Declare the topology; execute nothing. Raises as :func:`repricing_host`."""
    verification_key(settings)
    add_java_jar(env, settings.home / "run" / "jars")
    statements = table_env.create_statement_set()
    queries = [
        batch_rows(table_env, JOB, settings, at_least=BUFFER_BYTES),
        estimate_rows(table_env, JOB, settings),
    ]
    queries += _facts(env, table_env, settings)
    to_rows = union_rows if settings.all_buckets_live else separate_rows
    outputs = host_in_flink(to_rows(table_env, queries), partial(repricing_host, settings), f"{JOB}.listings")
    outputs_to_topics(statements, table_env, output_view(table_env, outputs, "repriced"), STREAMS, settings)
    return statements


def _facts(env: StreamExecutionEnvironment, table_env: StreamTableEnvironment, settings: Settings) -> list[str]:
    if not settings.host_clock:
        return [fact_rows(table_env, JOB, name, settings) for name in REPLAY_FACTS]
    set_bundle_size(env, bundle_size(settings.buckets, settings.parallelism, settings.run_clock.speed))
    table_env.get_config().set("table.exec.state.ttl", CHANGE_FILTER_TTL)
    within_s = None if settings.all_buckets_live else MAX_OFFER_AGE_S
    rows = [
        fact_rows(table_env, JOB, name, settings, changes=CHANGE_FILTERS.get(name), within_s=within_s)
        for name in FACTS
    ]
    if settings.all_buckets_live:
        return rows
    enable_unaligned_checkpoints(env)
    return [buffer_facts(table_env, "facts", " UNION ALL ".join(rows), seconds=FACT_BUFFER_S)]
