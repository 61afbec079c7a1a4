"""Cells: the counts of one listing, price and minute, from input lines by one SQL text in two dialects."""
