"""Records beside the inputs that describe the market: operators and checkouts, counts, results of the jobs."""
