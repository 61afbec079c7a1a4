"""The whole platform on one machine from wheels and jars: no container, no root.

``python -m infra.local --help`` lists the commands. The way of a start::

    bootstrap.py  the environment from requirements.lock     java.py   Java 17 or 21, found or from its wheel
    jars.py       jars by coordinate and checksum            ports.py  the usual ports, or free ones
    config.py     the files of broker, Redis, Flink          parts.py  what runs, in which order, ready when
    supervision.py  supervisord: starts, restarts, stops     jobs.py   which jobs run; submission; checkpoints
    platform.py   up, down, status, clean                    keeper.py resubmits a job that is lost
    leash.py      no worker outlives its parent

To add a part: one ``Part`` in ``parts.PARTS``.
"""
