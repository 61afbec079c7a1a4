"""Health of minutes: on time, late and catching up, or not closing; and of Redis."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.access import EVERY_TENANT, KeyRing, Role
from jobs.access.key_files import ADMIN, local_key
from jobs.access.signatures import Signer
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.edge.service import build
from jobs.monitoring import health
from jobs.monitoring.health import check_edge, check_redis
from jobs.monitoring.minute_progress import KEPT_MS, Sample, read_samples, record_sample
from jobs.monitoring.minutes import MAX_DELAY_S, NOTABLE_DELAY_S, judge_newest_minute
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.time_units import MINUTE_MS
from tests.jobs.edge.test_tls import served

NOON, LATENESS, SPEED = 43_200_000, 60_000, 20


class At(Clock):
    """A clock that always shows noon."""

    def now_ms(self) -> int:
        return NOON


def late(wall_s: float, rate: float | None = None) -> tuple[bool, str, bool]:
    """Return ok, note and notable of a minute that is late by ``wall_s``.

    ``rate`` run seconds close per wall second; None: no samples.
    """
    newest = NOON - MINUTE_MS - LATENESS - round(wall_s * 1000 * SPEED)
    samples = [] if rate is None else [Sample(0, newest - round(30_000 * rate)), Sample(30_000, newest)]
    part = judge_newest_minute(newest, At(NOON, 0, SPEED), LATENESS, samples)
    return part.ok, part.note, part.notable


def test_minute_in_time_is_ok_and_not_notable() -> None:
    assert late(NOTABLE_DELAY_S - 1, rate=SPEED)[::2] == (True, False)


def test_late_minute_reports_when_the_run_will_have_caught_up() -> None:
    ok, note, notable = late(30, rate=3 * SPEED)
    assert (ok, notable) == (True, True)
    assert note == "closed up to 11:48, 12 minutes ago: catching up, done in about 15 s"


def test_run_far_behind_is_a_problem_although_it_catches_up() -> None:
    ok, note, _ = late(MAX_DELAY_S + 60, rate=2 * SPEED)
    assert not ok
    assert note.endswith("42 minutes ago: catching up, done in about 2 minutes")


def test_run_that_falls_further_behind_reports_the_rate_and_the_remedy() -> None:
    ok, note, _ = late(MAX_DELAY_S + 60, rate=SPEED / 2)
    assert not ok
    assert "falling further behind, by 10.0 minutes of run time per minute" in note
    assert "slower clock" in note


def test_restarted_run_is_measured_from_its_restart() -> None:
    newest = NOON - MINUTE_MS - LATENESS - 600_000
    before = newest - 1_200_000
    samples = [Sample(0, before), Sample(30_000, before), Sample(50_000, newest)]
    assert judge_newest_minute(newest, At(NOON, 0, SPEED), LATENESS, samples).note.endswith(
        "catching up, done in about 15 s"
    )


def test_without_samples_only_the_delay_is_reported() -> None:
    assert late(30)[1] == "closed up to 11:48, 12 minutes ago"


def test_no_closed_minute_is_a_problem() -> None:
    assert judge_newest_minute(-1, At(NOON, 0, SPEED), LATENESS).note == "none has closed yet"


def test_samples_of_the_last_minute_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "minutes.json"
    for wall_ms in (0, 30_000, 70_000):
        record_sample(path, Sample(wall_ms, wall_ms * SPEED))
    assert read_samples(path, 70_000) == [Sample(30_000, 600_000), Sample(70_000, 1_400_000)]
    assert read_samples(path, 70_000 + KEPT_MS + 1) == []


@pytest.mark.parametrize("text", ["", "[[1]]", "[", '{"a": 1}'])
def test_unreadable_file_counts_as_no_samples(tmp_path: Path, text: str) -> None:
    (tmp_path / "minutes.json").write_text(text)
    assert read_samples(tmp_path / "minutes.json", 0) == []


def test_redis_without_redemptions_is_not_well(redis_server: Any, tables: RedisPriceTables) -> None:
    lost = check_redis(tables, redis_server.url)
    assert not lost.ok and "redemptions" in lost.note and "walras rebuild-redis" in lost.note
    with closing(RedemptionStore(redis_server.url)) as store:
        store.begin("e1")
        assert not check_redis(tables, redis_server.url).ok
        store.finish("e1")
    assert check_redis(tables, redis_server.url).ok


@pytest.mark.parametrize("alive", [{}, {"probing_callers": 0}, {"probing_callers": 2}])
def test_edge_row_counts_callers_that_are_probing(monkeypatch: pytest.MonkeyPatch, alive: dict[str, int]) -> None:
    reply = {"status": "ok", "quotes_logged": 3, "quotes_dropped": 0} | alive
    monkeypatch.setattr(health, "get_json", lambda url, **more: reply)
    row = check_edge(Settings())
    probing = alive.get("probing_callers", 0) > 0
    assert (row.ok, row.notable) == (True, probing)
    assert ("2 callers are probing" in row.note and "log names them" in row.note) == probing


def test_edge_row_has_the_counters_that_the_local_key_may_see(redis_server: Any, tmp_path: Path) -> None:
    values: dict[str, Any] = {"redis": redis_server.url, "edge_secret": "k" * 20, "home": tmp_path}
    settings = Settings(kafka="127.0.0.1:1", **values)
    RedisPriceTables(redis_server.url).mark_ready("e1")
    admin = local_key(
        settings.keys_folder / f"{ADMIN}.json",
        Signer.create(settings.signing_key_file),
        ADMIN,
        Role.ADMIN,
        EVERY_TENANT,
    )
    ring = KeyRing([admin.record])
    with served(build(settings, follow=False, ring=ring), settings) as port:
        row = check_edge(settings.model_copy(update={"edge_port": port}))
        assert row.ok and "0 quotes, 0 on disk, 0 dropped" in row.note
        stranger = settings.model_copy(update={"edge_port": port, "home": tmp_path / "other"})
        assert check_edge(stranger).ok and "need the key of a reader" in check_edge(stranger).note
