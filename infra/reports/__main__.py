"""Command line of the programs that produce reports: ``python -m infra.reports PROGRAM [options]``."""

from __future__ import annotations

import sys

from infra.reports.program import run_program
from infra.reports.programs import PROGRAMS

if __name__ == "__main__":
    sys.exit(run_program(PROGRAMS))
