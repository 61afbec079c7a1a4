"""A replay in this process, without a platform: mapped data run through the chain of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from features.bucket_logic import Output
from jobs.audit.recompute import Audit
from jobs.hosting.cell_query import CellQuery
from jobs.hosting.chain import Chain, Runner
from jobs.pricing.bucket.repricing_logic import REPLAY_FACTS
from jobs.pricing.policy import Policy
from jobs.replay.mapped_data import MappedData
from jobs.replay.parquet_outputs import ParquetOutputs
from jobs.replay.records import Refused


@dataclass(slots=True)
class InProcessRun:
    """Result of a run.

    Attributes
    ----------
    outputs : number of records by stream.
    outcomes : number of decisions by (cause, outcome).
    repeats, first_repeats : number of repeated order lines, and the first of them.
    counted : cells of known listings.
    learned : estimates that rest on at least one observation.
    audit : the recomputed decisions; None unless requested.
    """

    outputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeats: int = 0
    first_repeats: list[Refused] = field(default_factory=list)
    counted: int = 0
    learned: int = 0
    audit: Audit | None = None

    def count(self, output: Output) -> None:
        """Count one output, and recompute it if it is a decision and an audit was requested."""
        self.outputs[output.stream] += 1
        match output.stream:
            case "cells":
                self.counted += sum(row["kind"] == "cell" for row in output.value["rows"])
            case "rejected_cells":
                self.counted -= 1
            case "estimates":
                self.learned += output.value["n"] > 0
            case "policies" if self.audit is not None:
                self.audit.policies.take(output.value)
            case "decisions":
                self.outcomes[output.value["cause"], output.value["result"]["outcome"]] += 1
                if self.audit is not None:
                    # Decoded from JSON, as it would be read from the topic.
                    self.audit.check(orjson.loads(orjson.dumps(output.value)), without_offer=True)


def run_in_process(
    mapped: MappedData,
    policy: Policy,
    *,
    audit: bool = False,
    out: ParquetOutputs | None = None,
    shown: int = 5,
    progress: Callable[[int], None] = lambda time_ms: None,
    runner: Runner | None = None,
) -> InProcessRun:
    """Run the records of a mapping through the chain of jobs.

    Parameters
    ----------
    mapped : the mapped data.
    policy : the policy.
    audit : recompute every decision from its record, with and without rivals' offers.
    out : where outputs and refusals are written.
    shown : how many repeated order lines to keep as examples.
    progress : called with the market time that a batch has reached, epoch milliseconds.
    runner : runs features and repricing; None: this process.
    """
    run = InProcessRun(audit=Audit() if audit else None)
    mapped.fill_lines()
    query = CellQuery.of_tables(mapped.duck)
    for repeat in mapped.repeats():
        run.repeats += 1
        if run.repeats <= shown:
            run.first_repeats.append(repeat)
        if out is not None:
            out.refuse(repeat)
    chain = Chain(policy, mapped.mapping.buckets, facts=REPLAY_FACTS, runner=runner)
    for output in chain.run_query(query):
        run.count(output)
        if out is not None:
            out.write(output.stream, output.value)
        if output.stream == "cells":
            progress(output.event_time_ms)
    return run
