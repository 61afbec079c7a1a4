"""The drill's report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.local.parts import TASK_MANAGERS
from infra.reports.chaos.prober import SLOW_S


def markdown(reports: Sequence[dict[str, Any]]) -> str:
    """Return the report as Markdown: a table of the drills, then each drill in full."""
    lines = [
        "# Chaos drills", "",
        "One recorded input on an undisturbed platform and on one whose parts are killed (`make chaos`).", "",
        "| seed | records | invalid records | task managers killed | other kills | guarantees | violations |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for report in reports:
        kills = [d["what"] for d in report["killed"] if d["note"].startswith("killed")]
        task_managers = sum(kills.count(part) for part in TASK_MANAGERS)
        lines.append(
            f"| {report['seed']} | {report['records']:,} | {report['undisturbed']['rejected']:,} | "
            f"{task_managers} | {len(kills) - task_managers} | {len(report['compared'])} | "
            f"{sum(report['compared'].values())} |"
        )
    return "\n".join([*lines, "", *(_in_full(report) for report in reports)])


def _in_full(report: dict[str, Any]) -> str:
    size = report["size"]
    lines = [
        f"## Seed {report['seed']}: {'everything equal' if report['equal'] else 'DIFFERENCES'}", "",
        f"{report['date']}, {report['machine']}, {report['seconds']} s. {report['records']:,} records of "
        f"{size['minutes']} minutes of a market, one in a hundred invalid in one of {report['kinds_of_poison']} "
        "ways, on an undisturbed platform and on one whose parts were killed.", "",
        "| second | what | |", "|---|---|---|",
        *(f"| {d['second']} | {d['what']} | {d['note']} |" for d in report["killed"]), "",
        f"The edge answered {report['edge_answers']:,} requests ({report['edge_sources']}), the slowest in "
        f"{report['edge_slowest_s']} s; slower than {SLOW_S} s (second, seconds, of which the prober "
        f"waited for a processor): {report['edge_slow'] or 'none'}.", "",
        "| | undisturbed | disturbed |", "|---|---|---|",
        *(f"| {k} | {report['undisturbed'].get(k, 0):,} | {report['disturbed'].get(k, 0):,} |"
          for k in report["undisturbed"]), "",
        "| guarantee | violations |", "|---|---|",
        *(f"| {name} | {n} |" for name, n in report["compared"].items()), "",
        *(f"- {name}: {line}" for name, wrong in report["differences"].items() for line in wrong),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"
