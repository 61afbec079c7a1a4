"""repricing_job: cells, beliefs and facts → evidence → decisions → price tables, in Kafka and in Redis.

Topology only. The logic is :class:`jobs.pricing.bucket.repricing_logic.RepricingLogic` per bucket. Facts (a
rival's price or a stock level that says something new, an event, a command) do not wait for the minute: they come
straight from their topics, judged by the same predicates as in demand_job; among very many listings in packets
of a quarter of a second. Tables go to Redis inside the call that made them, and to Kafka, which is the truth.

In a replay (``WALRAS_CLOCK=data``) rivals' prices and stock levels wait for their minute's batch: recorded
years are read in seconds, and a small topic would be taken to its end before the first cells are counted.
"""

from __future__ import annotations

from functools import partial

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StatementSet, StreamTableEnvironment

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
from jobs.hosting.host import Host
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings

JOB = "repricing_job"
FACTS = ("offers", "stock", "calendar", "commands")
REPLAY_FACTS = ("calendar", "commands")
"""What no batch carries."""
FACT_BUFFER_S = 0.25
"""Where a worker cannot keep all of its buckets, a fact that came alone would have its bucket read and written,
some 10 ms. There facts gather for so long."""
MAX_OFFER_AGE_S = 10
"""And there a fact that waited in Kafka for longer is left to its minute's batch, as in a replay: an opening of
100,000 listings has four for each."""
CHANGE_FILTERS = {
    "offers": ChangeFilter(
        "tenant, market, sku, competitor",
        "CAST(price_minor AS STRING), CAST(shipping_minor AS STRING), CAST(in_stock AS STRING), currency, "
        "CAST(pack_size AS STRING), CAST(match_confidence AS STRING)",
    ),
    "stock": ChangeFilter("tenant, market, sku", "CAST(on_hand > 0 AS STRING)"),
}
"""A rival's price or stock level that says nothing new, as most of a scrape does, waits for its minute's batch."""
CHANGE_FILTER_TTL = "24 h"
"""How long it is remembered what a rival or a shelf said last; forgotten, the next word is changes."""
STREAMS = ("evidence", "decisions", "tables")


def repricing_host(settings: Settings) -> Host:
    """Hosts repricing logics; their tables go to Redis inside the call."""
    tables = RedisPriceTables(settings.redis.get_secret_value())
    policy = Policy.load(settings.policy)
    return Host(
        partial(RepricingLogic, policy), settings.host_clock, [RedisTableSink(tables)], settings.live_buckets
    )


def build(env: StreamExecutionEnvironment, table_env: StreamTableEnvironment, settings: Settings) -> StatementSet:
    """Declare the topology; executes nothing."""
    add_java_jar(env, settings.home / "run" / "jars")
    statements = table_env.create_statement_set()
    queries = [
        batch_rows(table_env, JOB, settings, at_least=BUFFER_BYTES),
        estimate_rows(table_env, JOB, settings),
    ]
    queries += _facts(env, table_env, settings)
    meet = union_rows if settings.all_buckets_live else separate_rows
    outputs = host_in_flink(meet(table_env, queries), partial(repricing_host, settings), f"{JOB}.listings")
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
