"""Records, topics and data contracts shared by all processes.

The package imports the standard library only, so that a job, a test or an external adapter can depend on it
without further requirements.

To add a stream: add a frozen dataclass to :mod:`schemas.events` or a module of :mod:`schemas.records`, and one
``Topic`` to :data:`schemas.topics.TOPICS`, then run ``make schemas`` to write its JSON Schema to ``schemas/json``.
"""
