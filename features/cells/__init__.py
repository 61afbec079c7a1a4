"""Cells: counts per listing, price and minute, computed from input lines by one SQL query in two dialects."""
