"""Decisions on prices, without input and output: policy, watcher, strategies, optimizer, guardrails, commands.

Guardrails, strategies, commands and signals have one folder each, whose package docstring describes how to add a
member. A test fails when a class is missing from its tuple.
"""
