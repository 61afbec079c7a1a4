"""PROGRAMS: every program that produces a report."""

from __future__ import annotations

from infra.reports.acceptance.accept_elasticity import AcceptElasticity
from infra.reports.acceptance.accept_watcher import AcceptWatcher
from infra.reports.acceptance.references import References
from infra.reports.arena.arena import Arena
from infra.reports.behaviour import Behaviour
from infra.reports.benchmarks.program import Benchmarks
from infra.reports.chaos.drill import ChaosDrill
from infra.reports.edge_drill.program import EdgeDrill
from infra.reports.fuzz.forge_locks import ForgeLocks
from infra.reports.fuzz.program import Fuzz
from infra.reports.program import Program

PROGRAMS: tuple[Program, ...] = (
    Benchmarks(),
    ChaosDrill(),
    EdgeDrill(),
    Fuzz(),
    ForgeLocks(),
    AcceptWatcher(),
    AcceptElasticity(),
    References(),
    Arena(),
    Behaviour(),
)
"""In the order of ``python -m infra.reports --help``."""
