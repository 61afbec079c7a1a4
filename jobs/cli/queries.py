"""Queries: explain a price, read a quote, list tables, refusals, the ledger and health."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from features.registry import EVENT_TIMESTAMP
from jobs.audit.explanation import explain_price, explanation_text, format_time, learned_state
from jobs.audit.ledger import balance_ledger
from jobs.audit.newest_decisions import WaitingDecision, fallback_use, newest_decisions, waiting_decisions
from jobs.cli.base import NO, AsJson, ListingKey, columns, commands, open_tables, out, parse_listing, wrong
from jobs.connectors.kafka.offsets import TopicEnds
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import newest, read_values
from jobs.monitoring.health import component_health
from jobs.policies.control import read_history
from jobs.policies.rules import rules_in_force
from jobs.pricing.decision.texts.limit_texts import reason_text
from jobs.pricing.policy import Policy
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT
from schemas.money import Money
from schemas.records.results import OWN_PRICE_ELASTICITY
from schemas.redis_keys import price_key, segment_key
from schemas.topics import INPUTS, TOPICS


@commands.command()
def explain(listing: ListingKey, as_json: AsJson = False) -> None:
    """Explain a listing's price: its table, what is learned, and the newest decision.

    Reads the ends of the `tables`, `decisions`, `features` and `estimates` topics. --json includes the decision's
    whole record.
    """
    settings, key = Settings.load(), parse_listing(listing).key

    def last(name: str, order: str) -> dict[str, Any] | None:
        return newest(settings.kafka, TOPICS[name].topic, lambda record: record.key == key, order)

    found = {"tables": last("tables", "version"), "decisions": None, "features": None}
    # Tables and catalog are compacted. A listing in neither is not searched for in topics of unlimited retention.
    if found["tables"] or last("catalog", "event_time_ms"):
        found["decisions"] = last("decisions", "decided_at_ms")
        found["features"] = last("features", EVENT_TIMESTAMP)
    learned, topic = found["features"], TOPICS["estimates"].topic
    own = f"{key}|{OWN_PRICE_ELASTICITY}|{DEFAULT_SEGMENT}"
    estimate = learned and newest(settings.kafka, topic, lambda record: record.key == own, "window_end_ms")
    explanation = explain_price(
        key,
        found["decisions"],
        found["tables"],
        learned and learned_state(learned, estimate),
        PolicyTopic(settings.kafka),
    )
    out(explanation, [explanation_text(explanation)], as_json)
    if not (found["tables"] or found["decisions"]):
        raise typer.Exit(NO)


@commands.command()
def quote(
    listing: ListingKey,
    customer: Annotated[str, typer.Option(help="Customer id, from which the pseudonym is computed.")] = "",
    known_as: Annotated[str, typer.Option("--pseudonym", help="The pseudonym itself.")] = "",
    arm: str = DEFAULT_ARM,
    as_json: AsJson = False,
) -> None:
    """Read a customer's price from Redis alone: two lookups of the public layout and an MD5.

    Nothing is logged, since no shopper is quoted.
    """
    if bool(customer) == bool(known_as):
        raise wrong("quote: expected --customer or --pseudonym")
    settings, where = Settings.load(), parse_listing(listing)
    who = known_as or pseudonym(settings.pseudonym_key.get_secret_value(), customer)
    tables = open_tables(settings)
    table = tables.get(where)
    if table is None:
        typer.echo(f"walras: nothing at {price_key(where)}; `walras tables` lists what there is", err=True)
        raise typer.Exit(NO)
    segment = tables.segment(where.tenant, who) or DEFAULT_SEGMENT
    price, propensity = table.pick(who, segment, arm)
    data = {
        "listing": where.key, "pseudonym": who, "segment": segment, "price_minor": price,
        "price": str(Money(price, table.currency)), "propensity": propensity, "version": table.version,
        "table_id": table.table_id, "expires_ms": table.expires_ms,
        "keys": [price_key(where), segment_key(where.tenant, who)],
    }  # fmt: skip
    out(data, columns([(name, str(value)) for name, value in data.items()]), as_json)


@commands.command()
def tables(
    under: Annotated[str, typer.Argument(help="tenant, tenant/market or tenant/market/sku")] = "",
    as_json: AsJson = False,
) -> None:
    """List the price tables in Redis. Exit code 1 if there is none."""
    store = open_tables(Settings.load())
    wanted = sorted(x for x in store.listings() if not under or f"{x.key}/".startswith(f"{under}/"))
    found = store.get_many(wanted)
    rows = [
        (
            x.key,
            str(Money(t.default_minor, t.currency)),
            str(t.version),
            format_time(t.expires_ms),
            reason_text(t.reason),
        )
        for x, t in found.items()
    ]
    head = ("listing", "main price", "version", "expires", "reason")
    out([t.to_record() for t in found.values()], columns([head, *rows]) if rows else ["no tables"], as_json)
    if not rows:
        raise typer.Exit(NO)


@commands.command()
def rejected(
    show: Annotated[bool, typer.Option("--show", help="List each record with its address and line.")] = False,
    code: Annotated[str, typer.Option(help="Only this reason code.")] = "",
    as_json: AsJson = False,
) -> None:
    """Count the refused records by topic, field and reason; --show lists them."""
    settings = Settings.load()
    found = {(v["topic"], v["partition"], v["offset"]): v for v in read_values(settings.kafka, "rejected")}
    refused = [v for _, v in sorted(found.items()) if not code or v["code"] == code]
    cells = [v for v in read_values(settings.kafka, "rejected_cells") if not code or v.get("code") == code]
    counts = Counter((v["topic"], v["field"], v["code"]) for v in refused)
    counts.update(("cells", "listing", str(v.get("code"))) for v in cells)
    rows = [(str(n), *key) for key, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    nothing = "nothing was refused; the page lists commands that were refused"
    lines = list(columns([("records", "topic", "field", "code"), *rows])) if rows else [nothing]
    if show and rows:
        lines = [f"{v['topic']}-{v['partition']}-{v['offset']}  {v['field']}  {v['code']}  {v['detail']}  "
                 f"{v['line'][:200]}" for v in refused]  # fmt: skip
        lines += [_cell_line(each) for each in cells]
    data = {
        "counts": [{"records": n, "topic": t, "field": f, "code": c} for (t, f, c), n in sorted(counts.items())],
        "records": refused if show else None,
        "cells": cells if show else None,
    }
    out(data, lines, as_json)


def _cell_line(cell: dict[str, Any]) -> str:
    """Return a refused cell in words: its listing and minute, what was expected, and its exposures."""
    expected = f", expected {cell['expected_currency']}" if cell["expected_currency"] else ""
    return (
        f"cell of {cell['listing']} at {format_time(cell['window_end_ms'])}  listing  {cell['code']}  "
        f"{cell['currency']}{expected}; {cell['exposures']} exposures"
    )


@commands.command()
def ledger(
    final: Annotated[
        bool, typer.Option("--final", help="Also require that every record is accounted for (at a replay's end).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the ledger: per input partition, offsets read = on time + late + rejected + ticks.

    Exit code 1 if a partition does not balance (with --final: or is behind its topic's end).
    """
    settings = Settings.load()
    ends = TopicEnds(settings.kafka, [topic.topic for topic in INPUTS]).now()
    found = balance_ledger(read_values(settings.kafka, "ledger"), ends)
    bad = [b for b in found if b.difference or (final and b.behind)]
    head = ("topic", "partition", "read", "on time", "late", "rejected", "ticks", "difference", "behind")
    rows = [
        tuple(map(str, (b.topic, b.partition, b.offsets_read, b.on_time, b.late, b.rejected, b.ticks, b.difference,
                        b.behind)))
        for b in found
    ]  # fmt: skip
    data = [asdict(b) | {"difference": b.difference, "behind": b.behind} for b in found]
    verdict = (
        f"{len(bad)} of {len(found)} partitions do not balance" if bad else f"{len(found)} partitions balance"
    )
    out({"balanced": not bad, "partitions": data}, [*columns([head, *rows]), verdict], as_json)
    if bad or not found:
        raise typer.Exit(NO)


@commands.command()
def status(as_json: AsJson = False) -> None:
    """Show the health of each component and the policies in force. Exit code 1 if a component has a problem."""
    settings = Settings.load()
    found = component_health(settings, open_tables(settings))
    rows = [("ok" if each.ok else "PROBLEM", each.name, each.note) for each in found]
    clock = settings.run_clock
    now = f"run time {format_time(clock.now_ms())}, {clock.speed:g} times wall time"
    data: dict[str, Any] = {"run_time_ms": clock.now_ms(), "parts": [p._asdict() for p in found]}
    lines = [now, *columns(rows)]
    if all(each.ok for each in found if each.name == "broker"):
        policies = read_history(settings).overview(clock.now_ms(), Policy.load(settings.policy))
        data["policy"] = {"scopes": [s._asdict() for s in policies.scopes],
                          "pending": [asdict(p) for p in policies.pending]}  # fmt: skip
        lines.append(f"policy: {policies.line}")
        lines += [f"policy: {s.scope} is not applied: {s.problem}" for s in policies.scopes if s.problem]
        rules = sum(len(scope.rules) for scope in rules_in_force(settings, settings.tenant))
        data["policy"]["rules"] = rules
        lines.append(f"rules: {rules or 'none'} in force; `walras rules` shows what they did")
        decisions = newest_decisions(settings.kafka)
        fallbacks, waiting = fallback_use(decisions), waiting_decisions(decisions, clock.now_ms())
        data["fallback"], data["waiting"] = asdict(fallbacks), len(waiting)
        lines.append(f"fallback: {fallbacks.line}")
        lines.append(f"waiting: {len(waiting) or 'no'} decisions need an operator; `walras waiting` lists them")
    servers = {"broker", "flink", "redis", "edge"}
    if not any(each.ok for each in found if each.name in servers):
        lines.append(
            "no server answers: `make run` starts a platform; `WALRAS_HOME` names the folder of another one"
        )
    out(data, lines, as_json)
    if not all(each.ok for each in found):
        raise typer.Exit(NO)


@commands.command()
def waiting(
    tenant: Annotated[str, typer.Argument(help="Only this tenant's.", metavar="[TENANT]")] = "",
    as_json: AsJson = False,
) -> None:
    """List the decisions that need an operator, the oldest first. Exit code 1 if there is one.

    Reads the newest decision of each listing. An approval that is not given in time counts as a rejection.
    """
    settings = Settings.load()
    found = waiting_decisions(newest_decisions(settings.kafka), settings.run_clock.now_ms(), tenant)
    lines = []
    for each in found:
        lines.append(f"{format_time(each.decided_at_ms)}  {each.listing}  {_waiting_price(each)}: {each.why}")
        until = "" if each.until_ms is None else f" until {format_time(each.until_ms)}"
        lines.append(
            f"  walras explain {each.listing}"
            if each.best_minor is None
            else f"  walras approve {each.listing} {each.decision_id}{until}"
        )
    out([asdict(each) for each in found], lines or ["no decision needs an operator"], as_json)
    if found:
        raise typer.Exit(NO)


def _waiting_price(decision: WaitingDecision) -> str:
    """Return the price of a waiting decision and the best one in words."""
    if decision.price_minor is None:
        return "without a price"
    price = str(Money(decision.price_minor, decision.currency))
    if decision.best_minor is None:
        return price
    return f"{price}, best price {Money(decision.best_minor, decision.currency)}"


@commands.command(name="data-check")
def data_check(
    kind: Annotated[str, typer.Argument(help="features, or an input: quotes, clicks, orders …", metavar="KIND")],
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of Parquet files; by default the run's archive.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check archived Parquet files against FEATURES or an input's contract (Great Expectations).

    An input's raw lines are checked as sources sent them, including refused ones. Exit code 1 if a rule fails.
    """
    # Imported here, since Great Expectations takes seconds to import.
    from jobs.audit.data_quality import FEATURES_KIND, check_folder

    archive = Settings.load().archive_dir
    where = folder or (archive / FEATURES_KIND if kind == FEATURES_KIND else archive / "raw" / f"stream={kind}")
    try:
        report = check_folder(kind, where)
    except (ValueError, FileNotFoundError) as error:
        raise wrong(f"data-check: {error}") from None
    data = {"kind": kind, "folder": str(where), "rows": report.rows, "rules": report.rules,
            "failures": [str(failure) for failure in report.failures]}  # fmt: skip
    out(data, [str(report)], as_json)
    if not report.success:
        raise typer.Exit(NO)
