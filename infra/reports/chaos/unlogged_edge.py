"""The edge service of the drill's platform, which does not log its quotes.

The quotes of the drill are part of its recorded input. The requests of the prober must not be added to them.
"""

from __future__ import annotations

import uvicorn

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.service import build, tune_interpreter
from jobs.runtime.serving import SERVER
from jobs.runtime.settings import Settings

if __name__ == "__main__":
    settings = Settings.load()
    tune_interpreter()
    uvicorn.run(build(settings, quotes=QuoteLog(None)), host=settings.edge_host, port=settings.edge_port, **SERVER)
