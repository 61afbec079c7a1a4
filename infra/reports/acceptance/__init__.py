"""Acceptance of the statistics: the watcher and the elasticity estimators on simulated and recorded data."""
