"""What an event is: the records, their topics and the contracts between processes.

This room imports the standard library only, so that anything (a job, a test, an adapter of a
user's own) can depend on it.

To add a stream: a frozen dataclass in :mod:`schemas.events`, one ``Topic`` in
:data:`schemas.topics.TOPICS`, and ``make schemas`` to write its JSON Schema under ``schemas/json``.
"""
