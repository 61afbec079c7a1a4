"""The pipeline's jobs and processes, and what they are built from.

``pricing`` decides prices (pure), ``simulation`` simulates a market with known demand (pure), ``hosting`` runs a
bucket's logic, ``connectors`` holds the drivers (Flink, Kafka, Redis, Feast). The modules of this folder are the
entry points; they do not import one another.
"""
