"""JOBS: the four jobs of the pipeline, and the client that submits them.

A client takes a Java and a Python start, so one client submits all requested jobs::

    flink run -d -pym jobs.registry --job demand_job --job feature_job=file:///…/chk-42

Each module has ``build(env, table_env, settings) -> StatementSet``, which declares the topology and executes
nothing. The registry sets the job's name, checkpoint folder and the checkpoint to resume from, executes the job,
and prints one line per job: ``submitted <name> <job id>``.

To add a job: one file with ``build`` under jobs/, and its name here.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence

from jobs.access.signatures import CommandKeyError
from jobs.runtime.settings import Settings

JOBS: dict[str, str] = {
    "demand_job": "jobs.demand_job",
    "feature_job": "jobs.feature_job",
    "elasticity_job": "jobs.elasticity_job",
    "repricing_job": "jobs.repricing_job",
}
"""Name on the cluster → module, in the order of the data flow."""
BY_BUCKET = ("feature_job", "elasticity_job", "repricing_job")
"""Jobs with few, large state values, for which RocksDB is as good as the heap (not so for demand_job)."""
MOST_BUCKETS_ON_HEAP = 320
"""About 10,000 listings, 80 MB; with more, the jobs by bucket keep their state in RocksDB."""


def parse_job(text: str) -> tuple[str, str | None]:
    """Parse a job's name and the checkpoint to resume from.

    >>> parse_job("demand_job"), parse_job("demand_job=file:///c/chk-7")
    (('demand_job', None), ('demand_job', 'file:///c/chk-7'))

    Raises
    ------
    ValueError
        If there is no such job; the message lists the jobs.
    """
    name, _, resume_from = text.partition("=")
    if name not in JOBS:
        raise ValueError(f"no job is called {name!r}; expected one of {', '.join(JOBS)}")
    return name, resume_from or None


def resource_of(name: str, options: Sequence[str]) -> str | None:
    """Return the external resource that a job's slots request, from the values of ``--resource``.

    >>> resource_of("repricing_job", ["counts", "repricing_job=prices"]), resource_of("demand_job", ["counts"])
    ('prices', 'counts')
    >>> resource_of("demand_job", [])
    """
    named = dict(text.rpartition("=")[::2] for text in options)
    return named.get(name, named.get(""))


def submit(
    name: str, settings: Settings, *, checkpoints: str | None, resume_from: str | None, resource: str | None
) -> str:
    """Build and execute one job, detached; return its id on the cluster."""
    from jobs.connectors.flink.environment import job_environment

    env, table_env = job_environment(
        name,
        settings.parallelism,
        checkpoints=checkpoints,
        resume_from=resume_from,
        resource=resource,
        on_disk=name in BY_BUCKET and settings.buckets > MOST_BUCKETS_ON_HEAP,
        cached_values=settings.live_buckets if name in BY_BUCKET else None,
    )
    statements = importlib.import_module(JOBS[name]).build(env, table_env, settings)
    # Attached to the DataStream program, since feature_job's Parquet sink must be part of the same job.
    statements.attach_as_datastream()
    return str(env.execute_async(name).get_job_id())


def reason(error: BaseException) -> str:
    """Return an error's first line, and its causes without Java's stack frames.

    >>> reason(ValueError("o1.execute failed\\n: org.apache.A: no\\n\\tat x.y\\nCaused by: java.B: why"))
    'ValueError: o1.execute failed; : org.apache.A: no; Caused by: java.B: why'
    """
    first, *rest = str(error).splitlines() or [""]
    causes = [line.strip() for line in rest if line.strip() and not line.startswith(("\t", "    "))]
    return "; ".join([f"{type(error).__name__}: {first}", *causes])


def main(argv: Sequence[str] | None = None) -> int:
    """Submit the requested jobs, by default all.

    Returns
    -------
    The exit code: 2 if a job lacks the public key that verifies commands, else the number of refused jobs.
    """
    parser = argparse.ArgumentParser(prog="jobs.registry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--job",
        action="append",
        metavar="NAME[=CHECKPOINT]",
        help="a job to submit; may be repeated; default: all",
    )
    parser.add_argument("--checkpoints", help="URI of the folder that holds one folder of checkpoints per job")
    parser.add_argument(
        "--resource", action="append", default=[], metavar="[NAME=]RESOURCE",
        help="Flink's external resource that the slots of a job (of every job) request",
    )  # fmt: skip
    args = parser.parse_args(argv)
    settings = Settings.load()
    refused, lacks_key = 0, False
    # In reverse order: the later jobs' Python workers start while demand_job's long query is planned.
    wanted = sorted((parse_job(text) for text in args.job or JOBS), key=lambda job: -list(JOBS).index(job[0]))
    for name, resume_from in wanted:
        try:
            job_id = submit(
                name,
                settings,
                checkpoints=args.checkpoints,
                resume_from=resume_from,
                resource=resource_of(name, args.resource),
            )
        except CommandKeyError as error:
            lacks_key = True
            print(f"refused {name}: {error}", file=sys.stderr, flush=True)
        except Exception as error:  # The other jobs must still start; the exit code counts this one.
            refused += 1
            if not str(error).startswith("An error occurred while calling"):  # Java's trace is complete.
                traceback.print_exc()
            print(f"refused {name}: {reason(error)}", file=sys.stderr, flush=True)
        else:
            print(f"submitted {name} {job_id}", flush=True)
    return 2 if lacks_key else refused


if __name__ == "__main__":
    sys.exit(main())
