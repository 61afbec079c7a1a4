"""The peer of demand_job: the same topics, read as JSON with the same columns, into nothing.

Submitted like the project's own jobs: ``flink run -pym tests.benchmarks.flink_peer --job raw_json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.demand_job import BUSY
from jobs.registry import resource_of
from jobs.runtime.flink_environment import by_the_minute, job_environment
from jobs.runtime.settings import Settings
from jobs.runtime.sources import create_table, source_options
from schemas.topics import INPUTS

NAME = "raw_json"
GROUP = "bench.raw_json"


def main(argv: Sequence[str] | None = None) -> int:
    """Submit the job."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.flink_peer")
    parser.add_argument("--job", action="append")
    parser.add_argument("--checkpoints")
    parser.add_argument("--resource", action="append", default=[])
    args = parser.parse_args(argv)
    settings = Settings.load()
    env, table_env = job_environment(
        NAME, settings.parallelism, checkpoints=args.checkpoints, resource=resource_of(NAME, args.resource)
    )
    by_the_minute(env)
    # It keeps no state, so its progress may be looked at every second for nothing.
    env.enable_checkpointing(1_000)
    table_env.get_config().set("pipeline.object-reuse", "true")
    statements = table_env.create_statement_set()
    for topic in INPUTS:
        columns = [f"  `{check.field}` {check.type}" for check in topic.checks]
        options = source_options(
            topic, settings, group=GROUP, parallelism=settings.parallelism if topic.name in BUSY else 1
        ) | {"value.format": "json", "value.json.ignore-parse-errors": "true"}
        table_env.execute_sql(create_table(f"in_{topic.name}", columns, options))
        table_env.execute_sql(create_table(f"no_{topic.name}", columns, {"connector": "blackhole"}))
        statements.add_insert_sql(f"INSERT INTO no_{topic.name} SELECT * FROM in_{topic.name}")
    statements.attach_as_datastream()
    print(f"submitted {NAME} {env.execute_async(NAME).get_job_id()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
