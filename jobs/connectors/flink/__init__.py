"""Flink: environments, sources, sinks, and the function that hosts a bucket logic."""
