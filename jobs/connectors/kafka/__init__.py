"""Kafka for plain processes: topics, publisher, offsets, reading, operator commands."""
