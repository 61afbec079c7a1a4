"""Monitoring: health of every component, and the rate at which minutes close."""
