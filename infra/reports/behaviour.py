"""Record the decisions of Walras on fixed inputs, and compare the records of two versions of the code.

    python -m infra.reports behaviour record before
    python -m infra.reports behaviour compare before after

The inputs are recorded data sets and a simulated day, a market whose shoppers are shown several prices. They run
through the logic of every job in one process. A record is a folder with one file of JSON lines per input: one line
per decision (listing, cause, outcome, prices, propensities, bands, gain) and then one line per stream with the
number of its outputs and their SHA-256.

Two records are equal when integers, texts and codes are equal and floats differ by at most 1e-9, relative or
absolute. A stream's digest may differ although its floats agree within the tolerance, so that a different digest
is reported as a note and does not fail the comparison.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson
from rich.progress import Progress

from features.bucket_logic import Output
from infra.reports.inputs.fixed_inputs import DAY_MINUTES, replayed, simulated
from infra.reports.program import Program, UsageError
from infra.reports.recorded_data import data_folder
from infra.reports.report import Figure, Limit, Report

TOLERANCE = 1e-9
RECORDED = ("olist_replay", "rees46_sample", "dominicks_oj_bayesm")
SHOWN_DIFFERENCES = 20


class BehaviourRecord:
    """Write the lines of one input.

    Parameters
    ----------
    path : file whose folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._counts: Counter[str] = Counter()
        self._digests: dict[str, Any] = {}

    def take(self, output: Output) -> None:
        """Add one output to its stream's digest and, if it is a decision, as a line."""
        text = orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS)
        self._counts[output.stream] += 1
        self._digests.setdefault(output.stream, hashlib.sha256()).update(text)
        if output.stream == "decisions":
            self._write(decision_line(orjson.loads(text)))

    def close(self) -> int:
        """Write one line per stream and return the number of decisions."""
        for stream in sorted(self._counts):
            digest = self._digests[stream].hexdigest()
            self._write({"stream": stream, "outputs": self._counts[stream], "sha256": digest})
        self._file.close()
        return self._counts["decisions"]

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(line) + b"\n")


def decision_line(decision: dict[str, Any]) -> dict[str, Any]:
    """Return the compared parts of a decision: all except most of its inputs and the policy's hash."""
    names = ("decision_id", "event_time_ms", "decided_at_ms", "cause", "cause_detail", "published", "version")
    return {
        "listing": decision["inputs"]["listing"],
        **{name: decision[name] for name in names},
        "table_id": decision["table_id"],
        "result": decision["result"],
        "elasticity": decision["inputs"]["elasticity"],
        "rival_elasticity": decision["inputs"]["rival_elasticity"],
        "requests": decision["inputs"]["requests"],
        "target_units": decision["inputs"]["target_units"],
        "offers": decision["inputs"]["offers"],
        "usual_minor": decision["inputs"]["usual_minor"],
        "bought": decision["inputs"]["bought"],
    }


def decision_lines(outputs: Iterable[Output]) -> Iterator[bytes]:
    """Yield one line of JSON per decision, without digests."""
    for output in outputs:
        if output.stream == "decisions":
            text = orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY)
            yield orjson.dumps(decision_line(orjson.loads(text)))


def differences(before: Iterable[bytes], after: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """Compare two records line by line.

    Yields
    ------
    A text per difference, and whether it is the digest of a stream.

    Examples
    --------
    >>> list(differences([b'{"a": 1.0}'], [b'{"a": 1.0000000000001}']))
    []
    >>> list(differences([b'{"a": [1, 2]}'], [b'{"a": [1, 3]}', b'{}']))
    [('line 1, a[1]: 2, then 3', False), ('line 2: missing before', False)]
    """
    for number, (one, other) in enumerate(zip_longest(before, after), start=1):
        if one is None or other is None:
            yield f"line {number}: missing {'before' if one is None else 'after'}", False
            continue
        if one == other:
            continue
        found = orjson.loads(one)
        for place, was, now in _differing("", found, orjson.loads(other)):
            stream = f" of {found['stream']}" if "stream" in found else ""
            yield f"line {number}{stream}, {place}: {was!r}, then {now!r}", place == "sha256"


def _differing(place: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    match was, now:
        case dict(), dict():
            for name in sorted({*was, *now}):
                inner = f"{place}.{name}" if place else name
                yield from _differing(inner, was.get(name, "absent"), now.get(name, "absent"))
        case list(), list() if len(was) == len(now):
            for i, (one, other) in enumerate(zip(was, now, strict=True)):
                yield from _differing(f"{place}[{i}]", one, other)
        case float(), float():
            if not math.isclose(was, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                yield place, was, now
        case _:
            if was != now or type(was) is not type(now):
                yield place, was, now


class Behaviour(Program):
    """Record the decisions of this version of the code on fixed inputs, or compare two records."""

    name = "behaviour"
    summary = "record decisions on fixed inputs, or compare two records"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the commands ``record`` and ``compare``."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        recording = commands.add_parser("record", help="write one file per input")
        recording.add_argument("folder", type=Path, help="folder of the files, created if it is missing")
        recording.add_argument("--data", type=Path, help="folder of the recorded data sets (default: WALRAS_DATA)")
        recording.add_argument("--minutes", type=int, default=DAY_MINUTES, help="length of the simulated run")
        recording.add_argument("--only", default="", help="inputs separated by commas; default: all")
        comparing = commands.add_parser("compare", help="compare two folders")
        comparing.add_argument("before", type=Path)
        comparing.add_argument("after", type=Path)

    def run(self, options: argparse.Namespace) -> Report:
        """Execute the command."""
        report = Report(self.name)
        if options.command == "record":
            if options.minutes < 1:
                raise UsageError(f"--minutes: expected at least 1, got {options.minutes}")
            only = options.only.split(",") if options.only else []
            record(report, options.folder, options.data or data_folder(), options.minutes, only)
        else:
            for folder in (options.before, options.after):
                if not folder.is_dir():
                    raise UsageError(f"expected a folder, got {folder}")
            compare(report, options.before, options.after)
        return report


def record(report: Report, folder: Path, data: Path, minutes: int, only: Sequence[str]) -> None:
    """Write one file per input and add its number of decisions to the report."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, Callable[[], Iterator[Output]]] = {"simulated": partial(simulated, minutes)}
    for name in RECORDED:
        if (data / name).is_dir():
            inputs[name] = partial(replayed, data / name, folder)
        else:
            print(f"{name}: not below {data}, left out", file=sys.stderr)
    for name, outputs in inputs.items():
        if only and name not in only:
            continue
        written = BehaviourRecord(folder / f"{name}.jsonl")
        with Progress() as progress:
            for output in progress.track(outputs(), description=name):
                written.take(output)
        report.add(Figure(name, written.close(), "decisions"))


def compare(report: Report, before: Path, after: Path) -> None:
    """Compare two folders and add the number of differences of each input to the report."""
    names = sorted({path.name for folder in (before, after) for path in folder.glob("*.jsonl")})
    for name in names:
        missing = [str(folder) for folder in (before, after) if not (folder / name).exists()]
        if missing:
            report.add(Figure(name, None, "differences", verdict=False, rule=f"missing in {', '.join(missing)}"))
            continue
        with (before / name).open("rb") as one, (after / name).open("rb") as other:
            found = list(differences(one, other))
        real = [text for text, digest in found if not digest]
        report.add(Figure(name, len(real), "differences", Limit(at_most=0)))
        for text in real[:SHOWN_DIFFERENCES]:
            print(f"  {text}")
        for text, digest in found:
            if digest:
                print(f"  note: {text}")
    if not names:
        report.add(Figure("records", 0, "files", Limit(at_least=1)))
