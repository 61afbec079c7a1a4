"""Proposed mappings: roles of a file's columns, guesses from its values, the text with its questions."""
