"""Benchmarks of the quote port: quotes, lists of quotes, price locks."""
