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
from infra.reports.program import Program, UsageError
from infra.reports.recorded_data import data_folder
from infra.reports.report import Figure, Limit, Report
from jobs.hosting.cell_query import Backfill, Line
from jobs.hosting.chain import FACTS_OF_A_REPLAY, Chain
from jobs.pricing.policy import Policy
from jobs.replay.command import find_mapping
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping
from jobs.runtime.settings import Settings
from jobs.simulation.config import MARKETS, CalendarPlan, CostChange, MarketConfig, RivalMove, Shock
from jobs.simulation.market import Market
from jobs.simulation.prices import TablePrices
from schemas.price_table import PriceList, PriceTable
from schemas.topics import MINUTE_MS, TOPICS

TOLERANCE = 1e-9
RECORDED = ("olist_replay", "rees46_sample", "dominicks_oj_bayesm")
DAY_MINUTES = 24 * 60
START_MS = 1_767_571_200_000
BUCKETS = 2
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


def replayed(folder: Path, scratch: Path, limit: int = 0) -> Iterator[Output]:
    """Yield the outputs of a recorded data set that runs through every job's logic in this process."""
    mapping = Mapping.load(find_mapping(folder))
    policy = mapping.policy_over(Policy())
    with MappedData(mapping, folder, limit=limit, memory=Settings.load().replay_memory, scratch=scratch) as mapped:
        mapped.fill_lines()
        chain = Chain(policy, mapping.buckets, facts=FACTS_OF_A_REPLAY)
        yield from chain.run_query(Backfill.of_tables(mapped.duck))


def simulated_config(skus: int, events_per_minute: float) -> MarketConfig:
    """Return a market with a shock, rivals' moves, a cost change and a campaign in its first three hours."""
    web = MARKETS[0].name
    return MarketConfig(
        markets=MARKETS[:1],
        skus=skus,
        categories=("coffee", "audio"),
        events_per_minute=events_per_minute,
        customers=2_000,
        rival_look_min=15,
        late_share=0.01,
        dirty_share=0.01,
        shocks=(Shock(70, web, 0, 3.0, "arrivals"),),
        rival_moves=(RivalMove(45, web, 1, 0.85), RivalMove(90, web, 2, 1.1)),
        cost_changes=(CostChange(100, web, 3, 1.1),),
        calendar=(CalendarPlan(60, 150, "campaign", "audio week", "", "audio", 1.5, 1.4),),
    )


def simulated(minutes: int, skus: int = 24, events_per_minute: float = 400.0) -> Iterator[Output]:
    """Yield the outputs of a simulated market whose shoppers see three prices around the list price."""
    market = Market(simulated_config(skus, events_per_minute), seed=20, start_ms=START_MS)
    prices = TablePrices(market.listings, market.list_minor)
    end_ms = START_MS + minutes * MINUTE_MS
    tables = {}
    for listing, list_minor in zip(market.listings, market.list_minor.tolist(), strict=True):
        points = [round(list_minor * share) for share in (0.93, 1.0, 1.05)]
        shown = {"base": {"all": PriceList.from_propensities(points, [0.25, 0.5, 0.25])}}
        tables[listing] = PriceTable(
            listing, listing.sku, 1, f"shown-{listing.sku}", START_MS, end_ms + MINUTE_MS, "EUR", shown,
            list_minor, None, "fixed prices of the behaviour record", "",
        )  # fmt: skip
    prices.take(tables)
    events = [(at, name, value) for at, _, name, _, value in market.opening(START_MS)]
    for at in range(START_MS, end_ms, MINUTE_MS):
        events += [(ts, name, value) for ts, _, name, _, value in market.step(at, at + MINUTE_MS, prices)]
    last_ms = end_ms + 45 * MINUTE_MS
    for at in range(START_MS + 10_000, last_ms, MINUTE_MS):
        ticks = ({"event_time_ms": at, "bucket": bucket, "tick": True} for bucket in range(BUCKETS))
        events += [(at, "ticks", orjson.dumps(tick)) for tick in ticks]
    for n, command in enumerate(_commands(market.listings[0].tenant, market.listings[1], end_ms)):
        events.append(
            (command["event_time_ms"], "commands", orjson.dumps({"event_id": f"command-{n}", **command}))
        )
    lines: dict[str, list[Line]] = {}
    for at, name, value in sorted(events, key=lambda event: event[0]):
        of_topic = lines.setdefault(TOPICS[name].topic, [])
        of_topic.append((0, len(of_topic), at, value))
    policy = Policy().overridden({"elasticity": {"period_minutes": 60}, "features": {"estimate_lag_minutes": 2}})
    yield from Chain(policy, BUCKETS, ahead_ms=20_000).run(lines)


def _commands(tenant: str, listing: Any, end_ms: int) -> list[dict[str, Any]]:
    """Return one command of each kind that needs no earlier decision, distributed over the run."""
    one = {"tenant": tenant, "market": listing.market, "sku": listing.sku, "operator": "ann", "reason": "recorded"}
    span = end_ms - START_MS
    kinds: list[dict[str, Any]] = [
        {"kind": "freeze"}, {"kind": "unfreeze"}, {"kind": "manual_price", "price_minor": 999},
        {"kind": "unfreeze"}, {"kind": "rollback"}, {"kind": "kill_switch"}, {"kind": "resume"},
        {"kind": "sale_target", "units": 200, "until_ms": end_ms}, {"kind": "settle"},
    ]  # fmt: skip
    step = span // (len(kinds) + 1)
    return [{**one, **kind, "event_time_ms": START_MS + (n + 1) * step} for n, kind in enumerate(kinds)]


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
