"""One decision: from recorded inputs to a price table, its record and its explanation. Pure."""
