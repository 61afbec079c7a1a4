"""Query of the elasticity models: scores, model in use, whether prices followed demand, and changes of demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from jobs.audit.explanation import format_time
from jobs.cli.base import NO, AsJson, columns, commands, out
from jobs.connectors.kafka.reading import read_values
from jobs.runtime.settings import Settings
from schemas.codes import Endogeneity


@commands.command()
def models(
    category: Annotated[str, typer.Argument(help="tenant/category; by default all.", metavar="[CATEGORY]")] = "",
    as_json: AsJson = False,
) -> None:
    """List, per category, the elasticity model in use, the models' scores and changes of demand.

    A score is the mean log probability, in nats, that a model gave to a listing's next order count; larger is
    better. "prices" states whether price changes followed the demand of the period before, which biases
    elasticities. Exit code 1 if no category has a report yet: the first one follows the second hour of market
    time.
    """
    settings = Settings.load()
    reports = read_values(settings.kafka, "models")
    newest = {"/".join((value["tenant"], value["category"])): value for value in reports}
    found = {name: report for name, report in sorted(newest.items()) if not category or name == category}
    events = [v for v in read_values(settings.kafka, "drift") if not category or _concerns(v, category)]
    rows = [
        (
            name,
            report["model"],
            *(f"{report['scores'][each]:.3f}" if each in report["scores"] else "-" for each in _models(found)),
            str(max(report["rows"].values(), default=0)),
            " ".join(f"{n} {state}" for state, n in report["states"].items()),
            price_test(report),
            report["reason"],
        )
        for name, report in found.items()
    ]
    head = ("category", "in use", *_models(found), "scores", "products", "prices", "why")
    lines = [*(columns([head, *rows]) if rows else ["no category has a report yet"])]
    lines += ["", f"{len(events)} confirmed changes of demand" + (", newest last:" if events else "")]
    lines += [
        f"  {format_time(v['window_end_ms'])}  {v['scope']} {v['name']}: {v['statistic']}, residual "
        f"{v['residual_before']:+.2f} → {v['residual_after']:+.2f} sd over {v['periods']} periods, "
        f"{v['listings']} listings"
        for v in events[-20:]
    ]
    out({"categories": list(found.values()), "drift": events}, lines, as_json)
    if not found:
        raise typer.Exit(NO)


def _models(reports: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of the scored models, sorted."""
    return sorted({name for report in reports.values() for name in report["scores"]})


def price_test(report: Mapping[str, Any]) -> str:
    """Return whether a category's prices followed demand, with correlation and z of the test.

    >>> price_test({"endogeneity": "shown", "lagged_correlation": 0.312, "lagged_z": 5.74})
    'followed demand (correlation +0.31, z +5.7)'
    >>> price_test({})
    'not tested'
    """
    if report.get("lagged_z") is None:
        return "not tested"
    words = "followed demand" if report["endogeneity"] == Endogeneity.SHOWN else "no sign"
    return f"{words} (correlation {report['lagged_correlation']:+.2f}, z {report['lagged_z']:+.1f})"


def _concerns(event: dict[str, Any], category: str) -> bool:
    return event["scope"] == "category" and "/".join((event["tenant"], event["name"])) == category
