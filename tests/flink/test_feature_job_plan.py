"""The execution plan of feature_job, from Flink's client without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.config import ROOT, Layout
from infra.local.machine import jars
from infra.local.machine.java import find_java_home

pytestmark = pytest.mark.platform

PRINT_PLAN = """
import sys
from jobs import feature_job
from jobs.connectors.flink.environment import job_environment
from jobs.runtime.settings import Settings
from pyflink.util.java_utils import add_jars_to_context_class_loader
add_jars_to_context_class_loader(sys.argv[1:])
env, table_env = job_environment("feature_job", 1)
feature_job.build(env, table_env, Settings.load()).attach_as_datastream()
print(env.get_execution_plan())
"""


def test_features_are_written_to_parquet_without_the_raw_archive(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    connectors = jars.classpath(jars.fetch(layout.jars), "flink", layout.jars)
    environment = os.environ | {
        "JAVA_HOME": str(find_java_home()), "PYTHONPATH": str(ROOT),
        "WALRAS_HOME": str(tmp_path), "WALRAS_ARCHIVE": "false",
    }  # fmt: skip
    command = [sys.executable, "-c", PRINT_PLAN, *(jar.absolute().as_uri() for jar in connectors)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "feature_job.parquet" in done.stdout, done.stderr[-2000:]
