"""Mapping files, one per kind of recorded data; :mod:`jobs.replay.mapping` describes the format.

Columns that move demand besides prices, such as promotion or display, are mapped in a section ``covariates`` of an
entry, and named in ``policy: {elasticity: {covariates: [...]}}``.

To add one: let ``walras mapping init`` propose one or copy the nearest file, name your columns, and run
``python -m jobs.replay --mapping my.yaml --data folder --check``, which maps and validates every row and sends
nothing.
``LIMITS.md`` in this folder lists type and limit of every field, generated from the contracts (also printed by
``python -m jobs.replay --limits``). ``infra/docs/mappings.md`` is the page for authors of mappings.
"""
