"""What connects the pure market of :mod:`jobs.simulation` to Kafka, Redis and the edge service.

``edge_client`` requests quotes over HTTP, ``live_prices`` reads price tables and segments from Redis,
``market_publisher`` sends the market's records to their topics, ``dry_run`` measures the market without them.
The process is :mod:`jobs.simulate`. :mod:`jobs.simulation` may not import a driver, so this package is its own.
"""
