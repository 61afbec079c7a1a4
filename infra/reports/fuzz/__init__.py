"""Hostile input for the whole chain in one process: no record may raise, and the ledgers balance."""
