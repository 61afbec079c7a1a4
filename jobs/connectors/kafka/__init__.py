"""Kafka for processes outside Flink: topics, publisher, offsets, reading, operators' commands."""
