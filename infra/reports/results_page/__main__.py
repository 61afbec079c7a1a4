"""Entry point of ``python -m infra.reports.results_page``."""

import sys

from infra.reports.results_page.page import main

sys.exit(main(sys.argv[1:]))
