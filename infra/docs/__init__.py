"""Documents of the project, and the generators of their tables."""
