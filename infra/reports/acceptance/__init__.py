"""Acceptance of the statistics: watcher and elasticities on simulated and recorded data."""
