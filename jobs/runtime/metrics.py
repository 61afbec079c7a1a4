"""Prometheus metrics of processes outside Flink, all named ``walras_<job>_<what>_<unit>``.

Flink's jobs report through Flink's own reporter. One naming rule for all other processes lets a dashboard be
written once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST

log = logging.getLogger(__name__)

UNITS = ("total", "seconds", "bytes", "ratio", "share", "ms", "per_second", "info", "count")
"""Last word of every metric's name; a counter's is always ``total``."""

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class MetricNameError(ValueError):
    """A metric name that breaks the naming rule."""


def metric_name(job: str, what: str, unit: str) -> str:
    """Return the name of a metric.

    Raises
    ------
    MetricNameError
        If the unit is not one of :data:`UNITS`, or the name is not lower snake case.

    >>> metric_name("edge", "quotes", "total")
    'walras_edge_quotes_total'
    >>> metric_name("edge", "Quotes", "pieces")
    Traceback (most recent call last):
    ...
    jobs.runtime.metrics.MetricNameError: metric: expected walras_<job>_<what>_<unit> in lower snake case with a \
unit of total, seconds, bytes, ratio, share, ms, per_second, info, count; got 'walras_edge_Quotes_pieces'
    """
    name = f"walras_{job}_{what}_{unit}"
    if unit not in UNITS or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise MetricNameError(
            "metric: expected walras_<job>_<what>_<unit> in lower snake case with a unit of "
            f"{', '.join(UNITS)}; got {name!r}"
        )
    return name


class Metrics:
    """Metrics of one process.

    Parameters
    ----------
    job : second word of every name, e.g. ``edge`` or ``ticker``.

    Examples
    --------
    >>> metrics = Metrics("edge")
    >>> metrics.counter("quotes", "Quotes answered, by source", ["source"]).labels("table").inc()
    >>> 'walras_edge_quotes_total{source="table"} 1.0' in metrics.text().decode()
    True
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, job: str) -> None:
        self.job = job
        self.registry = CollectorRegistry()

    def counter(self, what: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """Return a counter; its unit is ``total``."""
        return Counter(metric_name(self.job, what, "total"), meaning, labels, registry=self.registry)

    def gauge(self, what: str, unit: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        """Return a gauge."""
        return Gauge(metric_name(self.job, what, unit), meaning, labels, registry=self.registry)

    def histogram(
        self, what: str, meaning: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Histogram:
        """Return a histogram of durations; its unit is ``seconds``."""
        name = metric_name(self.job, what, "seconds")
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def start(self, port: int, host: str = "127.0.0.1") -> bool:
        """Serve ``/metrics`` from a background thread; return whether it serves.

        Port 0 starts no server. A port in use is logged and does not stop the process.
        """
        if not port:
            return False
        try:
            start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            log.warning("metrics: expected port %d of %s to be free (WALRAS_METRICS_PORT): %s", port, host, error)
            return False
        return True
