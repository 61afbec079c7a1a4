"""What we do about it, and how it is hosted.

``pricing`` decides (pure), ``simulation`` is a market with known demand (pure), ``runtime`` is the
only room with drivers; the files here are entry points and never import one another.
"""
