"""The edge: quotes answered from memory, and the log of these quotes."""
