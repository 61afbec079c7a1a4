"""The cell query: one SQL text in two dialects.

Flink SQL runs it on the stream (jobs/demand_job.py), DuckDB on files (jobs/replay/backfill.py). Both compute the
same cells, verdicts and segments, because every rule depends on the data alone:

(1) verdict of a line: TICK, ON_TIME, LATE or ``<field>|<CODE>|<expected value>`` of the first failing check;
(2) LATE ⇔ event time < kafka_ts − lateness; an event time more than a minute after kafka_ts is rejected;
(3) rt = event time, or kafka_ts if the event time is late, in the future or missing: the time of the record;
(4) a repeated order line (tenant, order_id, line, kind) is rejected if the previous one is in the same
    deduplication period of the topic (7 days of rt) or an adjacent one, so for 7 to 14 days;
(5) an exposure counts once per customer, listing, table_id and UTC day of rt. In (4) and (5) the first record is
    the one with the lowest offset of a partition (all records of a listing are in one partition);
(6) a session of a listing ends after 30 minutes without an action; its searches and carts then mature, and
    are abandoned if it has no placed order; they count at the price, arm and segment of its first action;
(7) cell = sums over (minute of rt, listing, price group, arm, segment, price, currency);
(8) a fact goes to the bucket of its price group. Of a listing's catalog entries the one of the highest event time
    is the newest, of equal ones the later. A newest entry of another group than the one before goes to the former
    group's bucket too, as an inactive entry of the former group; an older entry of another group than the newest
    goes to no bucket. So the newest entry alone decides which bucket has the listing active.

:class:`Dialect` contains the differences between the engines: windows, state (in Flink two table functions of
jobs/connectors/flink/java keep it small) and quotes. In DuckDB ``rt`` is epoch milliseconds, in Flink a rowtime
with the watermark kafka_ts − lateness.

The views depend on each other by name: ``in_<topic>`` (provided by the host: typed fields, ``tick``,
``line_verdict``, ``p``, ``o``, ``kafka_ts_ms``, ``rt``) → ``judged_<topic>`` → ``orders_keyed``, ``shown`` →
``orders_first``, ``exposures``, ``sessions`` → ``<part>_counted`` → ``cells``; ``<part>_lines`` and ``refused``
account for every offset. ``judged_catalog`` → ``catalog_ranked`` → ``catalog_placed``, of rule (8).

Each source is aggregated by minute separately, and only these aggregates are combined. On a stream, the first
aggregation then runs where the lines are read, and no event is shuffled in order to be counted.

The file exceeds 300 lines because it contains one query. Its views refer to each other by name, and both dialects
must be read side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from schemas.codes import RejectCode
from schemas.time_units import DAY_MS, MINUTE_MS
from schemas.topics import (
    BIGINT,
    BOOLEAN,
    FUTURE_TOLERANCE_MS,
    INPUTS,
    SESSION_GAP_MS,
    STRING,
    TOPICS,
    Check,
    Topic,
)

FACTS = ("offers", "stock", "catalog", "covariates")
"""Inputs whose records are part of the minute's batch."""

GROUP = ("tenant", "market", "sku", "price_group", "arm", "segment", "price_minor", "currency")
"""Key of a cell within a minute."""

SLOT_DIGITS = 4
"""Exposures whose digests share this number of leading hex digits are one entry of Flink's state."""
GOOD = "verdict IN ('ON_TIME', 'LATE')"
_MEASURES = ("kind", "quantity", "price_paid_minor", "searches", "carts", "orders")
"""Columns that the aggregates read."""
OTHERS = "others"
LEDGER_PARTS = ("clicks", "quotes", OTHERS)
"""Parts of the ledger query: the two topics with most events, and all others."""

MAX_LINE_REVENUE_MINOR = 10**13
"""Maximum revenue of an order line, so that the sum of a minute fits into 64 bits."""
_LINE_REVENUE = f"LEAST(price_paid_minor * quantity, {MAX_LINE_REVENUE_MINOR})"
_COUNTED: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "quotes": ("exposures", "TRUE", "price_minor", {"exposures": "COUNT(*)"}),
    "clicks": (
        "judged_clicks",
        f"{GOOD} AND kind <> 'checkout' AND bot IS NOT TRUE",
        "price_minor",
        {
            "views": "COUNT(*) FILTER (WHERE kind = 'view')",
            "searches": "COUNT(*) FILTER (WHERE kind = 'search')",
            "carts": "COUNT(*) FILTER (WHERE kind = 'cart')",
        },
    ),
    "orders": (
        "orders_first",
        f"{GOOD} AND kind <> 'paid'",
        "quoted_price_minor",
        {
            "orders": "SUM(CASE WHEN kind = 'placed' THEN 1 ELSE -1 END)",
            "units": "SUM(CASE WHEN kind = 'placed' THEN quantity ELSE -quantity END)",
            "revenue_minor": f"SUM({_LINE_REVENUE} * CASE WHEN kind = 'placed' THEN 1 ELSE -1 END)",
            "returns": "SUM(quantity) FILTER (WHERE kind = 'returned')",
        },
    ),
    "sessions": (
        "sessions",
        "TRUE",
        "price_minor",
        {
            "searches_matured": "SUM(searches)",
            "searches_abandoned": "SUM(searches) FILTER (WHERE orders = 0)",
            "carts_matured": "SUM(carts)",
            "carts_abandoned": "SUM(carts) FILTER (WHERE orders = 0)",
        },
    ),
}
"""Sources of counts: part → (view, predicate on its rows, price column, count → aggregate)."""

_SEARCH, _CART, _ORDER = range(1, 4)
"""Actions of a session, as numbers, because every action is shuffled."""

COUNTS: tuple[str, ...] = (
    "exposures", "views", "searches", "searches_matured", "searches_abandoned", "carts", "carts_matured",
    "carts_abandoned", "orders", "units", "revenue_minor", "returns",
)  # fmt: skip
"""Counts of a cell."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Syntax that differs between the two engines."""

    name: str
    quote: str
    matches: str

    @property
    def stream(self) -> bool:
        """Return whether the input is an unbounded stream with a rowtime."""
        return self.name == "flink"

    def text(self, sql: str) -> str:
        """Return SQL with this dialect's quotes and regular-expression function."""
        return sql.replace("`", self.quote).replace(f"{MATCHES}(", f"{self.matches}(")


MATCHES = "REGEXP"
"""Name of the regular-expression function in SQL texts; it matches a part of a text."""
FLINK = Dialect("flink", "`", MATCHES)
DUCKDB = Dialect("duckdb", '"', "regexp_matches")


def expected(check: Check) -> str:
    """Return the contract of a field as text for rejection details.

    Examples
    --------
    >>> expected(Check("quantity", BIGINT, low=1, high=5))
    'a whole number from 1 to 5'
    """
    if check.type == STRING:
        if check.values is not None:
            return (
                "a supported ISO 4217 currency code"
                if len(check.values) > 20
                else "one of " + ", ".join(check.values)
            )
        length = f"a text of {check.min_len} to {check.max_len} characters"
        return f"{length}: {check.characters.words}" if check.characters else length
    if check.type == BOOLEAN:
        return "true or false"
    words = "a whole number" if check.type == BIGINT else "a number"
    words += f" from {check.low:g}" if check.type != BIGINT and check.low is not None else ""
    words += f" from {check.low}" if check.type == BIGINT and check.low is not None else ""
    return words + (f" to {check.high}" if check.high is not None else "")


def verdict_sql(topic: Topic) -> str:
    """Return SQL of rule (1) for a topic's typed line."""
    cases = [
        ("line_verdict IS NOT NULL", "'line|' || line_verdict || '|one JSON object in UTF-8 of at most 64 KiB'")
    ]
    if topic.name != "ticks":
        cases.append(("`tick` IS TRUE", "'TICK'"))
    cases += _contract_cases(topic)
    time = f"`{topic.event_time}`"
    cases.append(
        (
            f"{time} > kafka_ts_ms + {FUTURE_TOLERANCE_MS}",
            f"'{topic.event_time}|{RejectCode.FROM_THE_FUTURE}|expected at most a minute past the Kafka time'",
        )
    )
    if topic.name == "ticks":
        cases.append(("TRUE", "'TICK'"))
    cases.append((f"{time} < kafka_ts_ms - {topic.lateness_ms}", "'LATE'"))
    whens = "\n  ".join(f"WHEN {predicate} THEN {verdict}" for predicate, verdict in cases)
    return f"CASE\n  {whens}\n  ELSE 'ON_TIME' END"


def contract_sql(topic: Topic) -> str:
    """Return SQL of the contract's verdict on typed fields: ``field|CODE|expected …``, or NULL."""
    whens = " ".join(f"WHEN {predicate} THEN {verdict}" for predicate, verdict in _contract_cases(topic))
    return f"CASE {whens} ELSE CAST(NULL AS STRING) END"


def _contract_cases(topic: Topic) -> list[tuple[str, str]]:
    cases = [
        (predicate, f"'{check.field}|{code}|expected {expected(check)}'")
        for check in topic.checks
        for predicate, code in check.sql()
    ]
    return cases + _bad_characters_sql(topic)


def _bad_characters_sql(topic: Topic) -> list[tuple[str, str]]:
    """Return predicate and verdict of the check of identifiers' characters.

    All identifiers of one kind are concatenated and matched at once, because the time of one regular expression
    per field would be a large part of the time to decode the line. The failing field is determined only for a
    record that fails. All other checks have passed at this point.
    """
    named = [(check, check.characters) for check in topic.checks if check.characters is not None]
    fails = []
    for kind in dict.fromkeys(characters for _, characters in named):
        of_kind = [check for check, characters in named if characters is kind]
        texts = " || '\n' || ".join(f"COALESCE(`{check.field}`, '')" for check in of_kind)
        pattern = "\n".join(f"(?:{kind.pattern}){'' if check.required else '?'}" for check in of_kind)
        fails.append(f"NOT {MATCHES}({texts}, '\\A{pattern}\\z')")
    whens = [
        f"WHEN `{check.field}` <> '' AND NOT {MATCHES}(`{check.field}`, '\\A(?:{characters.pattern})\\z') "
        f"THEN '{check.field}|{RejectCode.BAD_CHARACTERS}|expected {expected(check)}'"
        for check, characters in named
    ]
    which = f"CASE {' '.join(whens)} ELSE 'line|{RejectCode.BAD_CHARACTERS}|expected other characters' END"
    return [(" OR ".join(fails), which)] if named else []


def rt_ms_sql(topic: Topic, kafka_ts_ms: str = "kafka_ts_ms") -> str:
    """Return SQL of rule (3): the time of a record in epoch milliseconds, never NULL."""
    time = f"`{topic.event_time}`"
    return (
        f"CASE WHEN {time} >= {kafka_ts_ms} - {topic.lateness_ms} "
        f"AND {time} <= {kafka_ts_ms} + {FUTURE_TOLERANCE_MS} "
        f"THEN {time} ELSE {kafka_ts_ms} END"
    )


def bucket_sql(key: str, buckets: int) -> str:
    """Return SQL of :func:`schemas.listings.bucket_of`.

    The bucket is the first four hex digits of the MD5 as a number, modulo ``buckets``.
    """
    digits = [f"(POSITION(SUBSTRING(MD5({key}), {i}, 1) IN '0123456789abcdef') - 1)" for i in range(1, 5)]
    number = " + ".join(f"{digit} * {weight}" for digit, weight in zip(digits, (4096, 256, 16, 1), strict=True))
    return f"MOD({number}, {buckets})"


def _digest(*texts: str) -> str:
    """Return SQL of a seven-byte digest of texts, the largest size that Flink stores in a row's fixed part."""
    together = ", '|', ".join(texts)
    return f"UNHEX(SUBSTRING(MD5(CONCAT({together})), 1, 14))"


def _position(time_ms: str) -> str:
    """Return SQL of three texts that, concatenated, sort like (time, partition, offset) in both engines."""
    widths = {time_ms: 15, "p": 6, "o": 19}
    return ", ".join(f"LPAD(CAST({name} AS STRING), {width}, '0')" for name, width in widths.items())


GROUP_KEY_SQL = "tenant || '/' || market || '/' || price_group"
_PRESENT_GROUP_KEY_SQL = "tenant || '/' || market || '/' || present_group"
_POSITION_LEN = 40
_OF_ORDERS = (
    *(name for name in GROUP if name != "price_minor"),
    *("order_id", "line", "kind", "customer", "session", "quoted_price_minor", "offer_minor", "quantity"),
    "price_paid_minor",
)
_ENTRY = tuple(check.field for check in TOPICS["catalog"].checks)
_PRICE_LEN = 11
_OF_ACT = ("tenant", "market", "sku", "price_group", "currency", "arm", "segment")


def views(dialect: Dialect, inputs: Sequence[Topic] = INPUTS) -> Iterator[tuple[str, str]]:
    """Yield name and text of every view, in the order of their dependencies.

    Parameters
    ----------
    dialect : FLINK or DUCKDB.
    inputs : the input topics with the lateness and deduplication time of this run
        (:func:`schemas.topics.inputs_at_speed`), the only parameters of the query.
    """
    for topic in inputs:
        yield f"judged_{topic.name}", dialect.text(_judged(topic))
    yield "catalog_ranked", dialect.text(_catalog_ranked(dialect))
    yield "catalog_placed", dialect.text(_catalog_placed())
    orders = next(topic for topic in inputs if topic.name == "orders")
    yield "orders_keyed", dialect.text(_orders_keyed(dialect, orders))
    yield "orders_first", dialect.text(_orders_first(dialect, orders))
    yield "shown", dialect.text(_shown(dialect))
    yield "exposures", dialect.text(_exposures(dialect))
    yield "acts", dialect.text(_acts())
    yield "sessions", dialect.text(_sessions(dialect))
    for part in _COUNTED:
        yield f"{part}_rows", dialect.text(_part_rows(part))
        yield f"{part}_counted", dialect.text(_part_counted(dialect, part))
    yield "cell_parts", dialect.text(_cell_parts(dialect))
    yield "cells", dialect.text(_cells(dialect))
    for part in LEDGER_PARTS:
        yield f"{part}_lines", dialect.text(_ledger_lines(part))
    yield "refused", dialect.text(_refused())


def facts_sql(name: str, buckets: int) -> str:
    """Return the FROM and WHERE clauses of an input's facts, each row for the bucket of its price group (8)."""
    if name != "catalog":
        return f"FROM judged_{name} WHERE {GOOD}"
    former, present = (bucket_sql(key, buckets) for key in (GROUP_KEY_SQL, _PRESENT_GROUP_KEY_SQL))
    return f"FROM catalog_placed WHERE present_group IS NULL OR {former} <> {present}"


def segments_sql(dialect: Dialect, memory_days: int) -> str:
    """Return SQL of each customer's purchases in a period of ``memory_days`` (science § 2).

    The query counts orders with a rivals' price at the time of the order, and those of them above that price. A
    count belongs to one period of rt, so the state that Flink drops after the period affects no result; Redis
    keeps the counts of all periods. Flink drops a count after two periods of wall time without a purchase; DuckDB
    reads that hint as a comment.
    """
    period = f"CAST((rt_ms {'/' if dialect.stream else '//'} {memory_days * DAY_MS}) * {memory_days} AS STRING)"
    return f"""
SELECT /*+ STATE_TTL('bought' = '{2 * memory_days}d') */
  k, MIN(tenant) AS tenant, MIN(customer) AS customer, COUNT(*) AS purchases,
  SUM(above) AS above_offer, MAX(rt_ms) AS event_time_ms
FROM (
  SELECT tenant || ':' || customer || ':' || {period} AS k, tenant, customer, rt_ms,
    CASE WHEN quoted_price_minor > offer_minor THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END AS above
  FROM orders_first
  WHERE {GOOD} AND kind = 'placed' AND offer_minor IS NOT NULL
) AS bought
GROUP BY k"""


def ledger_sql(dialect: Dialect) -> str:
    """Return SQL of the ledger per topic, partition and minute.

    Offsets read = on time + late + rejected + ticks.
    """
    counts = """topic, p,
  SUM(got) AS offsets_read,
  COUNT(*) FILTER (WHERE verdict = 'ON_TIME') AS on_time,
  COUNT(*) FILTER (WHERE verdict = 'LATE') AS late,
  COUNT(*) FILTER (WHERE verdict NOT IN ('ON_TIME', 'LATE', 'TICK')) AS rejected,
  COUNT(*) FILTER (WHERE verdict = 'TICK') AS ticks"""
    if dialect.stream:
        each = (
            f"SELECT window_end, window_time AS rt, {counts}\n"
            f"FROM TABLE(TUMBLE(TABLE {part}_lines, DESCRIPTOR(rt), INTERVAL '1' MINUTE))\n"
            "GROUP BY window_start, window_end, window_time, topic, p"
            for part in LEDGER_PARTS
        )
    else:
        each = (
            f"SELECT {_MINUTE} AS window_end_ms, {counts}\nFROM {part}_lines GROUP BY 1, topic, p"
            for part in LEDGER_PARTS
        )
    return "\nUNION ALL\n".join(each)


_MINUTE = f"rt - rt % {MINUTE_MS} + {MINUTE_MS}"  # DuckDB only, where rt is epoch milliseconds


def _judged(topic: Topic) -> str:
    return f"SELECT *, {rt_ms_sql(topic)} AS rt_ms,\n{verdict_sql(topic)} AS verdict\nFROM in_{topic.name}"


def _catalog_ranked(dialect: Dialect) -> str:
    """Return SQL of the valid catalog entries with texts of their places in the order of rule (8).

    ``place`` is the entry's own, ``newest`` the listing's highest up to the entry, ``before`` the highest before
    it, each followed by the price group. Entries are ranked in the order of arrival, without waiting for the
    watermark: in Flink the wall time of the row stands for it, and its value is not used.
    """
    of_listing = f"OVER (PARTITION BY tenant, market, sku ORDER BY {'arrived' if dialect.stream else 'p, o'})"
    columns = ", ".join(f"`{field}`" for field in _ENTRY)
    place = f"CONCAT({_position('event_time_ms')}, price_group) AS place"
    arrived = ", PROCTIME() AS arrived" if dialect.stream else ""
    return f"""
SELECT *, LAG(newest) {of_listing} AS before
FROM (
  SELECT *, MAX(place) {of_listing} AS newest
  FROM (SELECT rt, p, o, {columns}, {place}{arrived} FROM judged_catalog WHERE {GOOD}) AS listed
) AS ranked"""


def _catalog_placed() -> str:
    """Return SQL of the catalog entries of rule (8).

    ``present_group`` is NULL; in an entry of a former group it is the listing's new group.
    """
    newest, before = (f"SUBSTRING({name}, {_POSITION_LEN + 1})" for name in ("newest", "before"))
    columns = ", ".join(f"`{field}`" for field in _ENTRY)
    as_former = {"price_group": f"{before} AS `price_group`", "active": "FALSE AS `active`"}
    of_former = ", ".join(as_former.get(field, f"`{field}`") for field in _ENTRY)
    return f"""
SELECT rt, p, o, {columns}, CAST(NULL AS STRING) AS present_group
FROM catalog_ranked WHERE price_group = {newest}
UNION ALL
SELECT rt, p, o, {of_former}, price_group AS present_group
FROM catalog_ranked WHERE place = newest AND price_group <> {before}"""


def _keyed(
    dialect: Dialect, columns: str, topic: str, what: Sequence[str], period_ms: int, which: str = "TRUE"
) -> str:
    """Return SQL of a topic's valid lines with the digest of their identity and the period of their rt."""
    together = ", '|', ".join(what)
    period = f"rt_ms {'/' if dialect.stream else '//'} {period_ms} AS span"
    keyed = f"{columns}, {period}, MD5(CONCAT({together})) AS digest"
    lines = f"SELECT {keyed} FROM judged_{topic} WHERE {GOOD} AND {which}"
    # Flink stores digests with equal leading digits together (jobs/connectors/flink/java/FirstSeen.java).
    return f"SELECT *, SUBSTRING(digest, 1, {SLOT_DIGITS}) AS slot FROM ({lines}) AS good"


def _first_seen(dialect: Dialect, columns: str, view: str, uid: str, reach: int) -> str:
    """Return SQL of a keyed view with ``first_seen``.

    It is NULL for the first record, which has the lowest offset of its partition, and otherwise the offset of the
    first record. Flink's rowtime is the row's own.
    """
    if dialect.stream:
        return (
            f"SELECT rowtime AS rt, {columns}, first_seen FROM FirstSeen(input => TABLE {view} "
            f"PARTITION BY (p, slot), reach => {reach}, on_time => DESCRIPTOR(rt), uid => '{uid}')"
        )
    of = "p, digest, span" if reach == 0 else "p, digest"
    return f"""
SELECT rt, {columns},
  CASE WHEN opens = 0 THEN FIRST_VALUE(o) OVER (PARTITION BY {of}, run ORDER BY o) END AS first_seen
FROM (
  SELECT *, SUM(opens) OVER (PARTITION BY {of} ORDER BY o) AS run
  FROM (
    SELECT *, CASE WHEN ABS(span - LAG(span) OVER (PARTITION BY {of} ORDER BY o)) <= {reach}
      THEN 0 ELSE 1 END AS opens
    FROM {view}
  ) AS arrived
) AS runs"""


def _orders_keyed(dialect: Dialect, orders: Topic) -> str:
    key = ("tenant", "order_id", "CAST(`line` AS STRING)", "kind")
    columns = f"{_orders_columns(orders)}, rt, verdict"
    return _keyed(dialect, columns, "orders", key, orders.deduplication_ms)


def _orders_columns(orders: Topic) -> str:
    fields = ", ".join(f"`{check.field}`" for check in orders.checks if check.field in _OF_ORDERS)
    return f"{fields}, kafka_ts_ms, p, o, rt_ms, line_bytes"


def _orders_first(dialect: Dialect, orders: Topic) -> str:
    columns = _orders_columns(orders)
    within = f"{orders.deduplication_ms / DAY_MS:g} days"
    duplicate = (
        f"'order_id|{RejectCode.DUPLICATE_ORDER}|expected each order line once in {within}; first at offset '"
    )
    known = _first_seen(dialect, f"{columns}, verdict", "orders_keyed", "orders", 1)
    return f"""
SELECT rt, {columns},
  CASE WHEN first_seen IS NULL THEN verdict ELSE {duplicate} || CAST(first_seen AS STRING) END AS verdict
FROM ({known}) AS known"""


def _shown(dialect: Dialect) -> str:
    what = ("CAST(p AS STRING)", "customer", "tenant", "market", "sku", "table_id")
    place = "" if dialect.stream else ", o"
    return _keyed(dialect, f"rt, p{place}, {', '.join(GROUP)}", "quotes", what, DAY_MS, "bot IS NOT TRUE")


def _exposures(dialect: Dialect) -> str:
    columns = ", ".join(GROUP)
    known = _first_seen(dialect, columns, "shown", "exposures", 0)
    return f"SELECT rt, {columns} FROM ({known}) AS known WHERE first_seen IS NULL"


def _acts() -> str:
    """Return SQL of a session's actions: searches, carts and placed orders.

    ``first_act`` is one text with all that a session needs of its first action: position, price, the lengths of
    the texts, the texts. It sorts by position, and a session's state in Flink is one small key and one text.
    """
    visit = f"{_digest(*_OF_ACT[:5], 'session')} AS visit"
    lengths = (f"CAST(CHAR_LENGTH({name}) + 100 AS STRING)" for name in _OF_ACT)
    texts = ", ".join((*lengths, *_OF_ACT))

    def act(price: str) -> str:
        # CONCAT, because Flink converts to a Java string at each ||; none of the arguments is NULL.
        position = _position("rt_ms")
        return f"CONCAT({position}, LPAD(CAST({price} AS STRING), {_PRICE_LEN}, '0'),\n    {texts}) AS first_act"

    return f"""
SELECT rt, {visit}, CASE WHEN kind = 'search' THEN {_SEARCH} ELSE {_CART} END AS act,
  {act("price_minor")}
FROM judged_clicks WHERE {GOOD} AND kind IN ('search', 'cart') AND bot IS NOT TRUE
UNION ALL
SELECT rt, {visit}, {_ORDER} AS act,
  {act("quoted_price_minor")}
FROM orders_first WHERE {GOOD} AND kind = 'placed'"""


def _sessions(dialect: Dialect) -> str:
    if dialect.stream:
        ended = f"""
  SELECT rowtime AS rt, first_act, searches, carts, orders
  FROM Sessions(
    input => TABLE acts PARTITION BY visit, gap_ms => CAST({SESSION_GAP_MS} AS BIGINT),
    on_time => DESCRIPTOR(rt), uid => 'sessions')"""
    else:
        ended = f"""
  SELECT MAX(rt) + {SESSION_GAP_MS} - 1 AS rt, MIN(first_act) AS first_act,
    COUNT(*) FILTER (WHERE act = {_SEARCH}) AS searches,
    COUNT(*) FILTER (WHERE act = {_CART}) AS carts,
    COUNT(*) FILTER (WHERE act = {_ORDER}) AS orders
  FROM (
    SELECT *, SUM(opens) OVER (PARTITION BY visit ORDER BY rt, first_act) AS nth
    FROM (
      SELECT *, CASE WHEN rt - LAG(rt) OVER (PARTITION BY visit ORDER BY rt, first_act) <= {SESSION_GAP_MS}
        THEN 0 ELSE 1 END AS opens
      FROM acts
    ) AS gaps
  ) AS islands
  GROUP BY visit, nth"""
    at = _POSITION_LEN + _PRICE_LEN + 1
    lengths = [f"CAST(SUBSTRING(first_act, {at + 3 * i}, 3) AS INT) - 100" for i in range(len(_OF_ACT))]
    named = ", ".join(f"{length} AS n{i}" for i, length in enumerate(lengths))
    starts = [" + ".join([str(at + 3 * len(_OF_ACT)), *(f"n{j}" for j in range(i))]) for i in range(len(_OF_ACT))]
    texts = ", ".join(f"SUBSTRING(first_act, {starts[i]}, n{i}) AS {name}" for i, name in enumerate(_OF_ACT))
    return f"""
SELECT rt, {texts},
  CAST(SUBSTRING(first_act, {_POSITION_LEN + 1}, {_PRICE_LEN}) AS BIGINT) AS price_minor, searches, carts, orders
FROM (SELECT *, {named} FROM ({ended}
) AS ended) AS measured
WHERE searches > 0 OR carts > 0"""


def _part_rows(part: str) -> str:
    view, which, price, counts = _COUNTED[part]
    used = [name for name in _MEASURES if any(name in text for text in counts.values())]
    sells = ", ".join(f"{price} AS price_minor" if name == "price_minor" else name for name in GROUP)
    return f"SELECT rt, {', '.join([sells, *used])} FROM {view} WHERE {which}"


def _part_counted(dialect: Dialect, part: str) -> str:
    """Return SQL of one source's counts per minute and cell."""
    counts = ",\n  ".join(
        f"CAST(COALESCE({sql}, 0) AS BIGINT) AS `{name}`" for name, sql in _COUNTED[part][3].items()
    )
    return _by_minute(dialect, f"{part}_rows", counts)


def _cell_parts(dialect: Dialect) -> str:
    """Return SQL of all sources' counts; a source has 0 in the counts of the other sources."""
    time, group = "rt" if dialect.stream else "rt_ms AS rt", ", ".join(GROUP)
    parts = (
        f"SELECT {time}, {group}, "
        + ", ".join(f"`{name}`" if name in counts else f"CAST(0 AS BIGINT) AS `{name}`" for name in COUNTS)
        + f" FROM {part}_counted"
        for part, (_, _, _, counts) in _COUNTED.items()
    )
    return "\nUNION ALL\n".join(parts)


def _cells(dialect: Dialect) -> str:
    return _by_minute(
        dialect, "cell_parts", ",\n  ".join(f"CAST(SUM(`{name}`) AS BIGINT) AS `{name}`" for name in COUNTS)
    )


def _by_minute(dialect: Dialect, view: str, counts: str) -> str:
    """Return SQL of a view's aggregates by minute and cell; the time is within the minute."""
    group = ", ".join(GROUP)
    if dialect.stream:
        return (
            f"SELECT window_time AS rt, {group},\n  {counts}\n"
            f"FROM TABLE(TUMBLE(TABLE {view}, DESCRIPTOR(rt), INTERVAL '1' MINUTE))\n"
            f"GROUP BY window_start, window_end, window_time, {group}"
        )
    return (
        f"SELECT {_MINUTE} AS window_end_ms, {_MINUTE} - 1 AS rt_ms, {group},\n  {counts}\n"
        f"FROM {view} GROUP BY ALL"
    )


def _ledger_lines(part: str) -> str:
    """Return SQL of one row per offset read, with its verdict.

    The verdict of an order is taken after deduplication, so that an order lost on the way would unbalance the
    ledger.
    """
    parts = []
    for topic in INPUTS:
        if part != (topic.name if topic.name in LEDGER_PARTS else OTHERS):
            continue
        lines = f"SELECT '{topic.topic}' AS topic, rt, p, "
        if topic.name == "orders":
            undecided = f"CASE WHEN {GOOD} THEN CAST(NULL AS STRING) ELSE verdict END AS verdict"
            parts.append(f"{lines}{undecided}, 1 AS got FROM judged_orders")
            parts.append(f"{lines}verdict, 0 AS got FROM orders_first")
        else:
            parts.append(f"{lines}verdict, 1 AS got FROM judged_{topic.name}")
    return "\nUNION ALL\n".join(parts)


def _refused() -> str:
    """Return SQL of all rejected records with their addresses."""
    bad = "verdict NOT IN ('ON_TIME', 'LATE', 'TICK')"
    sources = [(topic, f"judged_{topic.name}") for topic in INPUTS] + [(TOPICS["orders"], "orders_first")]
    return "\nUNION ALL\n".join(
        f"SELECT '{topic.topic}' AS topic, p, o, kafka_ts_ms, verdict, line_bytes FROM {view} WHERE {bad}"
        for topic, view in sources
    )
