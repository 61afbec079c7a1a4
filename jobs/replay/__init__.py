"""Replay: recorded files mapped to the input streams, and run through a platform or in this process."""
