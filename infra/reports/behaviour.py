"""Record what Walras decides on fixed inputs, and compare two records of two versions of the code.

    python -m infra.reports.behaviour record before
    python -m infra.reports.behaviour compare before after

The inputs are recorded data sets, replayed in one process, and a simulated day: raw records of a simulated
market whose shoppers are shown several prices, through every job's logic. A record is a folder with one file of
JSON lines per input: one line per decision (listing, cause, outcome, prices, propensities, bands, gain) and at the
end one line per stream with the number of its outputs and their SHA-256.

Two records agree when integers, texts and codes are equal and floats differ by at most 1e-9, relative or absolute.
A stream's digest may differ where only its floats do; it is reported apart and does not fail the comparison.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from features.bucket_logic import Output
from infra.reports.recorded_data import data_folder
from jobs.hosting.cell_query import CellQuery, Line
from jobs.hosting.chain import REPLAY_FACTS, Chain
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

app = typer.Typer(add_completion=False, help=__doc__)


class BehaviourRecord:
    """Writes the lines of one input.

    Parameters
    ----------
    path : the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._counts: Counter[str] = Counter()
        self._digests: dict[str, Any] = {}

    def take(self, output: Output) -> None:
        """Add one output: a line if it is a decision, in any case to its stream's digest."""
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
    """Return what is compared of a decision: everything but its inputs and the policy's hash."""
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
    """Yield the outputs of a recorded data set, mapped and run through every job's logic in this process."""
    mapping = Mapping.load(find_mapping(folder))
    policy = mapping.policy_over(Policy())
    with MappedData(mapping, folder, limit=limit, memory=Settings.load().replay_memory, scratch=scratch) as mapped:
        mapped.fill_lines()
        chain = Chain(policy, mapping.buckets, facts=REPLAY_FACTS)
        yield from chain.run_query(CellQuery.of_tables(mapped.duck))


def simulated_config(skus: int, events_per_minute: float) -> MarketConfig:
    """A market with a shock, rivals' moves, a cost change and a campaign within its first three hours."""
    web = MARKETS[0].name
    return MarketConfig(
        markets=MARKETS[:1],
        skus=skus,
        categories=("coffee", "audio"),
        events_per_minute=events_per_minute,
        customers=2_000,
        rival_check_min=15,
        late_share=0.01,
        dirty_share=0.01,
        shocks=(Shock(70, web, 0, 3.0, "arrivals"),),
        rival_moves=(RivalMove(45, web, 1, 0.85), RivalMove(90, web, 2, 1.1)),
        cost_changes=(CostChange(100, web, 3, 1.1),),
        calendar=(CalendarPlan(60, 150, "campaign", "audio week", "", "audio", 1.5, 1.4),),
    )


def simulated(minutes: int, skus: int = 24, events_per_minute: float = 400.0) -> Iterator[Output]:
    """Yield the outputs of a simulated market whose shoppers are shown three prices around the list price."""
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
    yield from Chain(policy, BUCKETS, fact_lead_ms=20_000).run(lines)


def _commands(tenant: str, listing: Any, end_ms: int) -> list[dict[str, Any]]:
    """One command of each kind that needs no earlier decision, spread over the run."""
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
    """Yield one line of JSON per decision, without the streams' digests."""
    for output in outputs:
        if output.stream == "decisions":
            text = orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY)
            yield orjson.dumps(decision_line(orjson.loads(text)))


def differences(before: Iterable[bytes], after: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """Compare two records line by line.

    Yields
    ------
    A sentence per difference, and whether it is only a stream's digest.

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
        for place, was, came in _differing("", found, orjson.loads(other)):
            stream = f" of {found['stream']}" if "stream" in found else ""
            yield f"line {number}{stream}, {place}: {was!r}, then {came!r}", place == "sha256"


def _differing(place: str, was: Any, came: Any) -> Iterator[tuple[str, Any, Any]]:
    match was, came:
        case dict(), dict():
            for name in sorted({*was, *came}):
                inner = f"{place}.{name}" if place else name
                yield from _differing(inner, was.get(name, "absent"), came.get(name, "absent"))
        case list(), list() if len(was) == len(came):
            for i, (one, other) in enumerate(zip(was, came, strict=True)):
                yield from _differing(f"{place}[{i}]", one, other)
        case float(), float():
            if not math.isclose(was, came, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                yield place, was, came
        case _:
            if was != came or type(was) is not type(came):
                yield place, was, came


@contextmanager
def _bar(name: str) -> Iterator[Any]:
    with Progress() as progress:
        task = progress.add_task(name, total=None)
        yield lambda: progress.advance(task)


@app.command("record")
def write_record(
    folder: Annotated[Path, typer.Argument(help="where the files are written; made if it is not there")],
    data: Annotated[Path | None, typer.Option(help="folder of the recorded data sets")] = None,
    minutes: Annotated[int, typer.Option(help="length of the simulated market's run", min=1)] = DAY_MINUTES,
    only: Annotated[str, typer.Option(help="inputs separated by commas; default: all")] = "",
) -> None:
    """Write one file per input."""
    folder.mkdir(parents=True, exist_ok=True)
    data = data or data_folder()
    inputs: dict[str, Any] = {"simulated": lambda: simulated(minutes)}
    for name in RECORDED:
        if (data / name).is_dir():
            inputs[name] = lambda name=name: replayed(data / name, folder)
        else:
            typer.echo(f"{name}: not below {data}, left out", err=True)
    for name, outputs in inputs.items():
        if only and name not in only.split(","):
            continue
        record = BehaviourRecord(folder / f"{name}.jsonl")
        with _bar(name) as advance:
            for output in outputs():
                record.take(output)
                advance()
        typer.echo(f"{name}: {record.close()} decisions")


@app.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    after: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
) -> None:
    """Compare two folders; exit code 1 when a decision differs."""
    names = sorted({path.name for folder in (before, after) for path in folder.glob("*.jsonl")})
    failed = 0
    for name in names:
        if not all((folder / name).exists() for folder in (before, after)):
            failed += 1
            typer.echo(f"{name}: only in one of the folders")
            continue
        with (before / name).open("rb") as one, (after / name).open("rb") as other:
            found = list(differences(one, other))
        real = [text for text, digest in found if not digest]
        failed += bool(real)
        typer.echo(f"{name}: {len(real)} differences")
        for text in real[:SHOWN_DIFFERENCES]:
            typer.echo(f"  {text}")
        for text, digest in found:
            if digest:
                typer.echo(f"  note: {text}")
    raise typer.Exit(1 if failed or not names else 0)


if __name__ == "__main__":
    app()
