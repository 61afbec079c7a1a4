"""Write a generated scanner data set: weekly sales of many items, and the mapping that replays them.

    python -m infra.reports.benchmarks.scanner_set <folder>
    python -m jobs.replay --data <folder> --mapping <folder>/scanner.yaml --alone

It has more buckets and categories than a host keeps live (400), so that a replay that evicted state without saving
it would lose decisions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

START_WEEK = 1_043
"""1989-12-28, counted from 1970-01-01, so that a week's records and its tick fall into one minute."""
MAPPING = """
name: scanner
description: generated weekly sales of {items} items in {categories} categories.
provenance: ["everything is generated: elasticity -2.5, a promotion of 20 % in one week of eight"]
sources: {{weeks: {{file: weeks.csv}}}}
constants: {{tenant: shop, market: web, currency: USD, segment: all, arm: base, role: margin, pack_size: 1,
  active: true, line: 0, discount_minor: 0}}
tick_minutes: 10080
buckets: {buckets}
policy:
  objective: {{period_minutes: 10080}}
  segments: {{names: [all], prior_shares: [1.0]}}
  limits: {{min_gap_minutes: 10080}}
  elasticity: {{kind: within, host: sums, period_minutes: 10080}}
  features: {{emit_every_minutes: 10080, refresh_minutes: 40320}}
  tables: {{life_minutes: 80640}}
streams:
  - stream: catalog
    from: weeks
    once_per: item
    fields: {{event_id: "'c' || item", event_time_ms: "{start_ms}", sku: "'i' || item", price_group: "'i' || item",
      category: "'k' || item % {categories}", list_minor: price, cost_minor: price * 6 // 10}}
  - stream: orders
    from: weeks
    primary: true
    fields: {{event_id: "'o' || row_number", event_time_ms: 604800000 * CAST(week AS BIGINT), sku: "'i' || item",
      price_group: "'i' || item", kind: "'placed'", order_id: "'w' || row_number", customer: "'shop'",
      session: "'w' || week", quantity: units, quoted_price_minor: price, price_paid_minor: price}}
"""


def write(folder: Path, *, items: int, weeks: int, buckets: int, categories: int, seed: int = 1) -> None:
    """Write ``weeks.csv`` and ``scanner.yaml``."""
    random = np.random.default_rng(seed)
    regular = random.integers(200, 2_000, items)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "weeks.csv").open("w", encoding="utf-8") as file:
        file.write("week,item,price,units\n")
        for week in range(START_WEEK, START_WEEK + weeks):
            promoted = random.random(items) < 1 / 8
            price = np.where(promoted, regular * 8 // 10, regular)
            units = 1 + random.poisson(20.0 * (price / regular) ** -2.5)
            for i in range(items):
                file.write(f"{week},{i},{price[i]},{units[i]}\n")
    text = MAPPING.format(items=items, categories=categories, buckets=buckets, start_ms=604_800_000 * START_WEEK)
    (folder / "scanner.yaml").write_text(text, encoding="utf-8")


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(prog="python -m infra.reports.benchmarks.scanner_set", description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, default in (("items", 2_000), ("weeks", 100), ("buckets", 600), ("categories", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    write(args.folder, items=args.items, weeks=args.weeks, buckets=args.buckets, categories=args.categories)


if __name__ == "__main__":
    main()
