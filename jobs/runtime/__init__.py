"""The hosts: the only room that knows Flink, Kafka, Redis, Feast, the environment and the clock on the wall."""
