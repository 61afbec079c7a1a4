"""Customer segments, and how the demand of each segment differs from its listing's."""
