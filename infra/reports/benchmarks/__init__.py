"""Benchmarks: throughput, latency, memory and solver time, each beside a limit or a peer of the same run."""
