"""``python -m jobs.replay``: see :mod:`jobs.replay.command`."""

from jobs.replay.command import app

app(prog_name="python -m jobs.replay")
