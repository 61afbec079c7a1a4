"""Redis: price tables and segments, written by compare-and-set, and rebuilt from Kafka."""
