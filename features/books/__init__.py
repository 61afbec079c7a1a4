"""Newest state per listing: one book per kind of fact (products, offers, stock, demand)."""
