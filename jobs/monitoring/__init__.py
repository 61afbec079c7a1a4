"""Monitoring: the health of every part, and how fast minutes close."""
