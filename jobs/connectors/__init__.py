"""Connectors: the only packages that import the drivers of Flink, Kafka, Redis and Feast."""
