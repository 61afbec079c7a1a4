"""JOBS: the four jobs of the pipeline, and the one client that submits them.

Starting a client costs a Java and a Python start, so one client submits all that is asked for::

    flink run -d -pym jobs.registry --job demand_job --job feature_job=file:///…/chk-42

Each module has ``build(env, table_env, settings) -> StatementSet``: it declares the topology and
executes nothing. The registry names the job, gives it its folder of checkpoints and the checkpoint
to resume from, executes it, and prints one line a job: ``submitted <name> <job id>``.

To add a job: one file with ``build`` under jobs/, and its name here.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence

from jobs.runtime.settings import Settings

JOBS: dict[str, str] = {
    "demand_job": "jobs.demand_job",
    "feature_job": "jobs.feature_job",
    "elasticity_job": "jobs.elasticity_job",
    "repricing_job": "jobs.repricing_job",
}
"""Name on the cluster → module, in the order in which the data passes them."""
BY_BUCKET = ("feature_job", "elasticity_job", "repricing_job")
"""Jobs with a few fat values as state, which a store on disk serves as well (demand_job's it does not)."""
MOST_BUCKETS_ON_HEAP = 320
"""Some 10,000 listings, 80 MB; with more the jobs by bucket keep their state in RocksDB."""


def parse_job(text: str) -> tuple[str, str | None]:
    """A job's name and the checkpoint to resume from.

    >>> parse_job("demand_job"), parse_job("demand_job=file:///c/chk-7")
    (('demand_job', None), ('demand_job', 'file:///c/chk-7'))

    Raises
    ------
    ValueError
        If there is no such job; names those there are.
    """
    name, _, resume_from = text.partition("=")
    if name not in JOBS:
        raise ValueError(f"no job is called {name!r}; expected one of {', '.join(JOBS)}")
    return name, resume_from or None


def resource_of(name: str, told: Sequence[str]) -> str | None:
    """The resource that a job's slots ask for, from ``--resource``.

    >>> resource_of("repricing_job", ["counts", "repricing_job=prices"]), resource_of("demand_job", ["counts"])
    ('prices', 'counts')
    >>> resource_of("demand_job", [])
    """
    named = dict(text.rpartition("=")[::2] for text in told)
    return named.get(name, named.get(""))


def submit(
    name: str, settings: Settings, *, checkpoints: str | None, resume_from: str | None, resource: str | None
) -> str:
    """Build and execute one job, detached; answers its id on the cluster."""
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
    # Attached, since feature_job has a Parquet sink beside its statements and must still be one job.
    statements.attach_as_datastream()
    return str(env.execute_async(name).get_job_id())


def reason(error: BaseException) -> str:
    """What a person needs of an error: its first line, and of a Java stack all but the frames.

    >>> reason(ValueError("o1.execute failed\\n: org.apache.A: no\\n\\tat x.y\\nCaused by: java.B: why"))
    'ValueError: o1.execute failed; : org.apache.A: no; Caused by: java.B: why'
    """
    first, *rest = str(error).splitlines() or [""]
    causes = [line.strip() for line in rest if line.strip() and not line.startswith(("\t", "    "))]
    return "; ".join([f"{type(error).__name__}: {first}", *causes])


def main(argv: Sequence[str] | None = None) -> int:
    """Submit the jobs asked for, all of them by default; the exit code counts the refused ones."""
    parser = argparse.ArgumentParser(prog="jobs.registry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--job", action="append", metavar="NAME[=CHECKPOINT]", help="job to submit; may be repeated; default: all"
    )
    parser.add_argument("--checkpoints", help="URI of the folder that holds one folder of checkpoints per job")
    parser.add_argument(
        "--resource", action="append", default=[], metavar="[NAME=]RESOURCE",
        help="Flink's external resource that a job's (every job's) slots ask for: where several task managers are",
    )  # fmt: skip
    args = parser.parse_args(argv)
    settings = Settings.load()
    refused = 0
    # From the end of the way: those jobs' Python workers start while demand_job's long text is planned.
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
        except Exception as error:  # one bad job must not keep the others from starting; the exit code says so
            refused += 1
            if not str(error).startswith("An error occurred while calling"):  # Java's trace says it all
                traceback.print_exc()
            print(f"refused {name}: {reason(error)}", file=sys.stderr, flush=True)
        else:
            print(f"submitted {name} {job_id}", flush=True)
    return refused


if __name__ == "__main__":
    sys.exit(main())
