"""Feast: feature rows written online and offline, and the generated feature repository."""
