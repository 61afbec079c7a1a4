"""Decisions, pure: policy, watcher, optimizer, guardrails, reprice.

To add a guardrail: one file under ``guardrails`` and its name in ``GUARDRAILS``. A signal: one file
under ``watcher`` and its name in ``SIGNALS``. A test fails when a class is missing from its tuple.
"""
