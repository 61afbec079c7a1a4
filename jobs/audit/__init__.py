"""Audit: ledger, quarantine, recomputed decisions, explanations and data checks."""
