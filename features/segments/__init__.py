"""Segments: groups of customers, and how each group's demand differs from its listing's."""
