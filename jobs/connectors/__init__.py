"""Connectors: the only packages that use the drivers of Flink, Kafka, Redis and Feast."""
