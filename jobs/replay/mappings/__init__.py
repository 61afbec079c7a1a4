"""Mapping files, one per kind of foreign data; :mod:`jobs.replay.mapping` says how they read.

To add one: copy the nearest file, name your columns, and run
``python -m jobs.replay --mapping my.yaml --data folder --check``, which maps and judges every row and
sends nothing. ``LIMITS.md`` in this folder lists type and limit of every field, generated from the contracts
(also printed by ``python -m jobs.replay --limits``).
"""
