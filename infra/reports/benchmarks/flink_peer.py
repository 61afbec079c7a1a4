"""Peers of demand_job: simple Flink jobs that read the same topics as JSON with the same columns.

``raw_json`` writes the records to a blackhole. ``plain_counts`` counts clicks, quotes and orders per minute and
cell and filters the records that violate a contract; it does not handle invalid JSON, duplicates, exposures,
sessions, ledger or batches.

They are submitted like the project's jobs: ``flink run -pym infra.reports.benchmarks.flink_peer --job raw_json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from features.cells.query import GROUP
from jobs.connectors.flink.environment import configure_for_throughput, job_environment
from jobs.connectors.flink.sources import create_table, source_options
from jobs.demand_job import PARALLEL_INPUTS
from jobs.registry import resource_of
from jobs.runtime.settings import Settings
from schemas.topics import INPUTS, Topic

JOBS = RAW, COUNTS = "raw_json", "plain_counts"


def group(job: str) -> str:
    """Return the Kafka consumer group of a peer."""
    return f"bench.{job}"


def main(argv: Sequence[str] | None = None) -> int:
    """Submit the job."""
    parser = argparse.ArgumentParser(prog="infra.reports.benchmarks.flink_peer")
    parser.add_argument("--job", choices=JOBS, default=RAW)
    parser.add_argument("--checkpoints")
    parser.add_argument("--resource", action="append", default=[])
    args = parser.parse_args(argv)
    settings = Settings.load()
    env, table_env = job_environment(
        args.job, settings.parallelism, checkpoints=args.checkpoints, resource=resource_of(args.job, args.resource)
    )
    configure_for_throughput(env)
    # The job has little state, so that a checkpoint per second costs nothing.
    env.enable_checkpointing(1_000)
    table_env.get_config().set("pipeline.object-reuse", "true")
    statements = table_env.create_statement_set()
    for topic in INPUTS:
        columns = [f"  `{check.field}` {check.type}" for check in topic.checks]
        options = source_options(
            topic,
            settings,
            group=group(args.job),
            parallelism=settings.parallelism if topic.name in PARALLEL_INPUTS else 1,
        )
        typed = options | {"value.format": "json", "value.json.ignore-parse-errors": "true"}
        counted = args.job == COUNTS and topic.name in PARALLEL_INPUTS
        table_env.execute_sql(create_table(f"in_{topic.name}", columns + (_TIMES if counted else []), typed))
        if counted:
            _count(table_env, statements, topic)
        else:
            table_env.execute_sql(create_table(f"no_{topic.name}", columns, _NOWHERE))
            fields = ", ".join(f"`{check.field}`" for check in topic.checks)
            statements.add_insert_sql(f"INSERT INTO no_{topic.name} SELECT {fields} FROM in_{topic.name}")
    statements.attach_as_datastream()
    print(f"submitted {args.job} {env.execute_async(args.job).get_job_id()}", flush=True)
    return 0


_NOWHERE = {"connector": "blackhole"}
_TIMES = ["  kafka_ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL", "  WATERMARK FOR kafka_ts AS kafka_ts"]


def _count(table_env: Any, statements: Any, topic: Topic) -> None:
    """Add the counts of one topic per cell and minute, and its records that violate the contract."""
    bad = " OR ".join(f"({predicate})" for check in topic.checks for predicate, _ in check.sql())
    price = "quoted_price_minor" if topic.name == "orders" else "price_minor"
    cell = ", ".join(price if name == "price_minor" else name for name in GROUP)
    kind = "sku = sku" if topic.name == "quotes" else "kind IN ('view', 'placed')"
    columns = [f"  `{check.field}` {check.type}" for check in topic.checks]
    fields = ", ".join(f"`{check.field}`" for check in topic.checks)
    for sink, taken, query in (
        (
            "counts",
            ["  n BIGINT", "  m BIGINT"],
            f"SELECT COUNT(*), COUNT(*) FILTER (WHERE {kind}) FROM TABLE(TUMBLE(TABLE in_{topic.name}, "
            f"DESCRIPTOR(kafka_ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, {cell}",
        ),
        ("bad", columns, f"SELECT {fields} FROM in_{topic.name} WHERE {bad}"),
    ):
        table_env.execute_sql(create_table(f"{sink}_{topic.name}_out", taken, _NOWHERE))
        statements.add_insert_sql(f"INSERT INTO {sink}_{topic.name}_out {query}")


if __name__ == "__main__":
    sys.exit(main())
