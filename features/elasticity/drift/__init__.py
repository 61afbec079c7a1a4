"""Changes of demand: when they are confirmed, and how far the elasticity shifted (science § 11).

==============  ===================================================================================
monitor.py      ADWIN on residuals per listing, category and market; what follows from a change
adwin.py        River's ADWIN as numbers, for snapshots
==============  ===================================================================================
"""

from __future__ import annotations

from features.elasticity.drift.monitor import (
    MAX_LOG_VARIANCE,
    Change,
    DriftMonitor,
    DriftSettings,
    Residuals,
    Scope,
    Statistic,
)

__all__ = ["MAX_LOG_VARIANCE", "Change", "DriftMonitor", "DriftSettings", "Residuals", "Scope", "Statistic"]
