"""The HTML page of `walras learn`: charts, points of demand, text."""
