"""walras policy on a broker: a patch is sent, judged by a bucket, shown, previewed and taken back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from features.bucket_logic import Batch, Fact, Output
from jobs import cli
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_accepted
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

pytestmark = pytest.mark.platform
TENANT = "policy-test"
SHOES = f"{TENANT}:category=shoes"


def walras(*words: str) -> Any:
    return CliRunner().invoke(cli.commands, ["policy", *words])


class Bucket:
    """A bucket with two categories, whose inputs and outputs are in Kafka."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.logic, self.offset = settings, RepricingLogic(), 0
        now_ms = settings.run_clock.now_ms()
        self.minute_ms = now_ms - now_ms % MINUTE_MS
        entries = tuple(
            CatalogEntry(f"c{i}", self.minute_ms - 1, TENANT, "web-us-usd", f"s{i}", f"s{i}", category, "margin",
                         "USD", 1, True, 1200, 1999)
            for i, category in enumerate(("shoes", "hats"))
        )  # fmt: skip
        with Publisher(settings.kafka) as publisher:
            for entry in entries:
                publisher.send("catalog", entry, timestamp_ms=entry.event_time_ms)
            for refused in (b"not JSON", b'{"tenant": 7}'):
                publisher.send_bytes(TOPICS["catalog"].topic, refused, timestamp_ms=self.minute_ms, key="bad")
        self.publish(self.logic.on_batch(Batch(0, self.minute_ms, catalog=entries, now_ms=self.minute_ms)))

    def publish(self, outputs: Any) -> list[Output]:
        found = list(outputs)
        with Publisher(self.settings.kafka) as publisher:
            for each in found:
                publisher.send(each.stream, each.value, timestamp_ms=each.event_time_ms, key=each.key)
        return found

    def take_commands(self) -> None:
        """Give the logic the commands of this tenant that are new, as demand_job's judged records."""
        sent = [value for value in read_accepted(self.settings.kafka, "commands") if value.get("tenant") == TENANT]
        for value in sent[self.offset :]:
            self.offset += 1
            record = {each.name: value.get(each.name) for each in fields(Command)}
            fact = Fact("commands", record, value["event_time_ms"], f"commands-0-{self.offset}", self.minute_ms)
            self.publish(self.logic.on_fact(fact))

    def minutes(self, until_ms: int) -> list[Output]:
        """Send empty minutes up to a time; return the outputs."""
        outputs: list[Output] = []
        while self.minute_ms < until_ms:
            self.minute_ms += MINUTE_MS
            outputs += self.publish(self.logic.on_batch(Batch(0, self.minute_ms, now_ms=self.minute_ms)))
        return outputs


def test_patch_is_sent_judged_shown_previewed_and_taken_back(platform: Settings) -> None:
    bucket = Bucket(platform)
    seen = walras("preview", SHOES, "margin.min_margin=0.45", "--json")
    assert seen.exit_code == 0, (seen.output, seen.exception)
    [row] = orjson.loads(seen.stdout)["categories"]
    assert (row["category"], row["listings"], row["changed"], row["up"]) == ("shoes", 1, 1, 1)

    for words, problem in (
        (("set", SHOES, "margin.min_margin=much", "--reason", "r"), "margin.min_margin"),
        (("set", SHOES, "segments.names=[all]", "--reason", "r"), "a deployment key"),
        (("set", f"{TENANT}:colour=red", "margin.min_margin=0.4", "--reason", "r"), "scope: expected"),
        (("set", SHOES, "margin.min_margin=0.4"), "--reason: expected why"),
        (("set", SHOES, "margin.min_margin=0.4", "--reason", "r", "--from", "1m"), "at least 2 minutes"),
        (("rollback", SHOES, "--reason", "r"), "expected a scope with an accepted patch"),
    ):
        refused = walras(*words)
        assert refused.exit_code == 2 and problem in refused.stderr, words
    bucket.take_commands()
    assert bucket.offset == 0, "a refused patch is not sent"

    assert walras("set", SHOES, "margin.min_margin=0.45", "--reason", "spring", "--operator", "ann").exit_code == 0
    bucket.take_commands()
    [change] = orjson.loads(walras("history", SHOES, "--json").stdout)
    assert change["accepted"] and (change["operator"], change["reason"]) == ("ann", "spring")
    outputs = bucket.minutes(change["from_ms"] + MINUTE_MS)
    changed = [each.value for each in outputs if each.stream == "decisions"]
    assert [(each["sku"], each["cause"]) for each in changed] == [("s0", "POLICY_CHANGED")]
    assert changed[0]["event_time_ms"] == change["from_ms"] + MINUTE_MS
    recomputed = CliRunner().invoke(cli.commands, ["recompute", changed[0]["decision_id"]])
    assert recomputed.exit_code == 0, recomputed.output

    pending = orjson.loads(walras("show", SHOES, "--json").stdout)
    assert pending["values"]["limits.max_step"] == {"value": 0.1, "scope": "default"}
    assert walras("diff", SHOES).output.strip() == "no key differs", "by the run's clock"
    assert [each["command_id"] for each in pending["pending"]] == [change["command_id"]], "by the run's clock"
    assert walras("rollback", SHOES, "--reason", "over").exit_code == 0
    bucket.take_commands()
    again = orjson.loads(walras("history", SHOES, "--json").stdout)[-1]
    assert again["accepted"] and again["replaces"] and again["changes"] == "{}"
    # The bucket's minutes are ahead of the run's clock here: the patch holds from its next batch on.
    outputs = bucket.minutes(bucket.minute_ms + MINUTE_MS)
    taken_back = [each.value for each in outputs if each.stream == "decisions"]
    assert [(each["sku"], each["cause"]) for each in taken_back] == [("s0", "POLICY_CHANGED")]
    assert taken_back[0]["inputs"]["policy_hash"] == changed[0]["cause_detail"]["before"]
