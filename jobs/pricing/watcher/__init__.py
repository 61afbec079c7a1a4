"""The watcher: says when a price is worth looking at again, on evidence and not on a timer (science § 6).

``Watcher`` steps a minute at a time over all listings of a bucket; ``GroupWatcher`` runs the same
detectors on the sums of price groups. Signals stand one in a file and are named in ``SIGNALS``:
to add one, write the file (see ``signal.py`` for what it must promise), add its class to the tuple,
give ``WatcherSettings`` a weight of the signal's name, and run tests/jobs/pricing/watcher.
"""

from jobs.pricing.watcher.group_watcher import GroupWatcher
from jobs.pricing.watcher.minute import Minute, Verdict
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.watcher import SIGNALS, Watcher

__all__ = ["SIGNALS", "GroupWatcher", "Minute", "Verdict", "Watcher", "WatcherSettings"]
