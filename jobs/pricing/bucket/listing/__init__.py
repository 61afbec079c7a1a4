"""State of one listing in a bucket: trusted cost, rivals' offers, estimates and the prices that were seen."""
