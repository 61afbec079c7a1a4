"""Generated inputs for benchmarks and tests."""
