"""Books: one per kind of fact (products, offers, stock, demand), used by features, learning and pricing."""
