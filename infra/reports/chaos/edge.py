"""The edge service over the drill's platform, whose quotes are answered and not logged.

The drill's quotes are part of its recorded input; what its own prober asks must not join them.
"""

from __future__ import annotations

import uvicorn

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.service import SERVER, build, tune_interpreter
from jobs.runtime.settings import Settings

if __name__ == "__main__":
    settings = Settings.load()
    tune_interpreter()
    uvicorn.run(build(settings, quotes=QuoteLog(None)), host=settings.edge_host, port=settings.edge_port, **SERVER)
