"""The edge drill: quotes while Redis and Kafka fail, beyond the rate limit, and after a publication."""
