"""The arena: Walras and simple ways of pricing on one simulated market."""
