"""Fixtures and hooks of all tests: the shared platform, a clean environment, and recorded data.

``platform`` yields the Settings of a running broker, Redis and Flink cluster (topics created, Redis ready, Feast
applied) in a folder of its own on free ports. ``running_jobs`` yields the same with the four jobs running.
``local_platform`` yields the object that starts, stops and kills parts. All three are started by the first test
that uses them and stopped at the end of the session.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from infra.reports.recorded_data import data_folder
from tests.recorded_data import Recorded, deselect_missing

hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

if TYPE_CHECKING:
    from infra.local.platform import Platform
    from jobs.runtime.settings import Settings


RECORDED = pytest.StashKey[Recorded]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests whose recorded data are missing, and move tests on the shared platform to the end.

    Tests with a platform of their own then run before the shared one starts. ``trylast`` excludes the tests that
    ``-m`` deselects from the counts.
    """
    config.stash[RECORDED] = deselect_missing(config, items, data_folder())
    items.sort(key=lambda item: "local_platform" in getattr(item, "fixturenames", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass a worker's count of tests on recorded data to the process that prints the summary."""
    if hasattr(session.config, "workeroutput") and RECORDED in session.config.stash:
        session.config.workeroutput["recorded"] = session.config.stash[RECORDED].to_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Store the count of one pytest-xdist worker; all workers collect the same tests."""
    if counts := getattr(node, "workeroutput", {}).get("recorded"):
        node.config.stash[RECORDED] = Recorded(**counts | {"missing": tuple(counts["missing"])})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how many tests ran on recorded data, and which data sets are missing."""
    recorded = config.stash.get(RECORDED, Recorded())
    if recorded != Recorded():
        terminalreporter.write_line(recorded.summary())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the state of its platform to the report of a failed platform test, before the platform is stopped."""
    report = yield
    if report.failed and item.get_closest_marker("platform"):
        from infra.local.platform import Platform
        from tests.platform_report import describe

        used = getattr(item, "funcargs", {}).values()
        report.sections += [(f"platform in {p.layout.home}", describe(p)) for p in used if isinstance(p, Platform)]
    return report


def walras_variables(*, keep: Collection[str] = ("WALRAS_JARS",)) -> list[str]:
    """Return the names of Walras' environment variables, without those to keep."""
    return [name for name in os.environ if name.startswith("WALRAS_") and name not in keep]


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Remove Walras' environment variables except the folder of the jars for one test."""
    for name in walras_variables():
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture(scope="session")
def local_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Run a platform without market, ticker, edge and keeper: the tests send the input and the ticks."""
    from infra.local.parts import TASK_MANAGERS
    from infra.local.platform import Platform

    patch = pytest.MonkeyPatch()
    for name in walras_variables(keep=("WALRAS_DATA", "WALRAS_JARS")):
        patch.delenv(name)
    platform = Platform(tmp_path_factory.mktemp("walras"))
    patch.setenv("WALRAS_HOME", str(platform.layout.home))
    try:
        platform.up(
            ["broker", "redis", "jobmanager", *TASK_MANAGERS], job_names=[], speed=1, checkpoint_interval_s=1.0
        )
        yield platform
    finally:
        platform.down()
        patch.undo()


@pytest.fixture(scope="session")
def platform(local_platform: Platform) -> Settings:
    """Return the settings of the running platform."""
    return local_platform.settings()


@pytest.fixture(scope="session")
def running_jobs(local_platform: Platform) -> Settings:
    """Return the settings of the running platform, with every job of JOBS running."""
    from jobs.registry import JOBS

    local_platform.submit(list(JOBS))
    local_platform.wait(job_names=list(JOBS), timeout_s=180)
    return local_platform.settings()
