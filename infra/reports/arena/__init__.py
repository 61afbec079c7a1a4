"""The arena: Walras and simple pricing methods on the same simulated markets."""
