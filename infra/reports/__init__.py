"""Programs that produce reports: what Walras does and how fast, measured; none of them is a test."""
