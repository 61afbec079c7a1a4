"""The chaos drill: parts are killed under a recorded input, and the outputs compared with a quiet run."""
