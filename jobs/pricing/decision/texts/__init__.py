"""Texts about a recorded decision for people: its explanation, its limits, its pricing rules, its times."""
