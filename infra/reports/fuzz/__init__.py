"""Hostile records through the whole chain in one process: none may raise, and the ledgers must balance."""
