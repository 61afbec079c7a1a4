"""The chaos drill: kill parts under a recorded input and compare the outputs with an undisturbed run."""
