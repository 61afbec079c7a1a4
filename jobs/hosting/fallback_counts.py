"""FallbackCounts: count decisions by stage of the fallback chain, for metrics."""

from __future__ import annotations

from collections.abc import Sequence

from features.bucket_logic import Output
from schemas.codes import Fallback


class FallbackCounts:
    """Counts a host's decisions that used a fallback (a :class:`jobs.hosting.host.OutputSink`); writes nothing.

    >>> counts = FallbackCounts()
    >>> counts.write([Output("decisions", "acme/web/s1", {"result": {"fallback": "rule"}}, 0)])
    >>> counts.counts
    {'fallback_rule': 1, 'fallback_last_table': 0, 'fallback_list_price': 0}
    """

    streams = frozenset({"decisions"})

    def __init__(self) -> None:
        self.counts = {f"fallback_{stage.value}": 0 for stage in Fallback if stage is not Fallback.NONE}

    def write(self, outputs: Sequence[Output]) -> None:
        """Count the decisions of one call."""
        for output in outputs:
            stage = output.value["result"].get("fallback")
            if stage is not None:
                self.counts[f"fallback_{stage}"] += 1
