"""The catalog topic as its readers outside Flink see it: the newest entry of every listing."""

from __future__ import annotations

from features.books.products import CatalogBook
from jobs.connectors.kafka.reading import read_accepted
from schemas.events import CatalogEntry


def read_catalog(bootstrap: str) -> CatalogBook:
    """Return the newest catalog entry of every listing, active or not.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    """
    book = CatalogBook()
    for value in read_accepted(bootstrap, "catalog"):
        book.observe(CatalogEntry(**value))
    return book
