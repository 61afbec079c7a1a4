"""The watcher: triggers a repricing on statistical evidence that a price is wrong (science § 6).

:class:`Watcher` processes one minute of all listings of a bucket per step. :class:`GroupWatcher` runs the same
detectors on the sums of price groups. The kinds of evidence are in :mod:`jobs.pricing.watcher.signals`.
"""

from jobs.pricing.watcher.group_watcher import GroupWatcher
from jobs.pricing.watcher.minute import Minute, Verdict
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.signals import SIGNALS
from jobs.pricing.watcher.watcher import Watcher

__all__ = ["SIGNALS", "GroupWatcher", "Minute", "Verdict", "Watcher", "WatcherSettings"]
