"""One platform for all tests that need a real one.

``platform`` yields the Settings of a running broker, Redis and Flink cluster (topics made, Redis
ready, Feast applied) in a folder of its own on free ports; ``running_jobs`` the same with the four
jobs running; ``local_platform`` the object that can start, stop and kill parts. All three start at
the first test that asks and end with the session, whatever happens.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from infra.reports.recorded_data import data_folder
from tests.recorded_data import Recorded, leave_out_missing

hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

if TYPE_CHECKING:
    from infra.local.platform import Platform
    from jobs.runtime.settings import Settings


RECORDED = pytest.StashKey[Recorded]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests whose recorded data are missing; put those that share the platform last.

    Last, so that tests with a platform of their own do not run beside the shared one. ``trylast``: what ``-m``
    leaves out is not counted.
    """
    config.stash[RECORDED] = leave_out_missing(config, items, data_folder())
    items.sort(key=lambda item: "local_platform" in getattr(item, "fixturenames", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's count of tests on recorded data to the process that prints the summary."""
    if hasattr(session.config, "workeroutput") and RECORDED in session.config.stash:
        session.config.workeroutput["recorded"] = session.config.stash[RECORDED].to_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep the count of one pytest-xdist worker; each collects every test."""
    if told := getattr(node, "workeroutput", {}).get("recorded"):
        node.config.stash[RECORDED] = Recorded(**told | {"missing": tuple(told["missing"])})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests ran on recorded data, or that none did and why."""
    recorded = config.stash.get(RECORDED, Recorded())
    if recorded != Recorded():
        terminalreporter.write_line(recorded.line())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test on a platform shows how that platform was, before anything ends it."""
    report = yield
    if report.failed and item.get_closest_marker("platform"):
        from infra.local.platform import Platform
        from tests.platform_words import words

        used = getattr(item, "funcargs", {}).values()
        report.sections += [(f"platform in {p.layout.home}", words(p)) for p in used if isinstance(p, Platform)]
    return report


@pytest.fixture(scope="session")
def local_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform without market, ticker, edge and keeper: the test makes the input and the time."""
    from infra.local.parts import TASK_MANAGERS
    from infra.local.platform import Platform

    patch = pytest.MonkeyPatch()
    for name in [
        name for name in os.environ if name.startswith("WALRAS_") and name not in ("WALRAS_DATA", "WALRAS_JARS")
    ]:
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
    """Settings of the running platform."""
    return local_platform.settings()


@pytest.fixture(scope="session")
def running_jobs(local_platform: Platform) -> Settings:
    """Settings of the running platform with every job of JOBS running."""
    from jobs.registry import JOBS

    local_platform.submit(list(JOBS))
    local_platform.wait(job_names=list(JOBS), timeout_s=180)
    return local_platform.settings()
