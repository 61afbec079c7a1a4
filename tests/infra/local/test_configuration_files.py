"""Ports, and the configuration files of the broker, Redis, Flink and supervisord."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from infra.local import config, supervision
from infra.local.errors import PlatformError
from infra.local.machine.ports import LOOPBACK, is_free, pick_ports
from infra.local.parts import TASK_MANAGERS, Part
from jobs.connectors.flink.environment import BUFFER_BYTES, SLOT_MANAGED_MB
from jobs.registry import JOBS, resource_of
from jobs.runtime.settings import Settings

SHIPPED = {"env": {"java": {"opts": {"all": "--add-opens=java.base/java.lang=ALL-UNNAMED"}}}}


def a_layout(tmp_path: Path) -> config.Layout:
    return config.Layout(tmp_path, jars=tmp_path / "jars")


def some_ports() -> dict[str, int]:
    return {name: 20_000 + i for i, name in enumerate(config.DEFAULT_PORTS)}


def test_port_in_use_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert pick_ports({"kafka": port})["kafka"] != port


def test_free_ports_of_the_previous_run_are_used_again() -> None:
    before = pick_ports({"kafka": 0, "redis": 0})
    assert pick_ports({"kafka": 0, "redis": 0}, before) == before


def test_ports_differ_when_the_default_ports_are_equal() -> None:
    port = pick_ports({"a": 0})["a"]
    picked = pick_ports({"a": port, "b": port, "c": port})
    assert len(set(picked.values())) == 3


def test_flink_config_keeps_the_java_options_and_binds_to_loopback(tmp_path: Path) -> None:
    text = config.flink_config(
        a_layout(tmp_path), some_ports(), shipped=SHIPPED, checkpoint_interval_s=1.5, parallelism=2
    )
    values = yaml.safe_load(text)
    assert values["env.java.opts.all"] == SHIPPED["env"]["java"]["opts"]["all"]
    assert values["execution.checkpointing.interval"] == "1500 ms"
    hosts = [value for key, value in values.items() if key.endswith(("bind-host", "address", ".host"))]
    assert set(hosts) == {LOOPBACK}


def test_task_managers_offer_the_resources_that_their_jobs_request() -> None:
    options_of = {part: config.taskmanager_options(part, some_ports(), 2) for part in TASK_MANAGERS}
    offered = {part: options["external-resources"] for part, options in options_of.items()}
    requested = {name: resource_of(name, ["counts", "repricing_job=prices"]) for name in JOBS}
    assert set(offered.values()) == set(requested.values())
    assert offered["taskmanager"] == config.SHARED_RESOURCE
    assert {
        name: resource for name, resource in requested.items() if resource != config.SHARED_RESOURCE
    } == config.DEDICATED_RESOURCES
    for part, options in options_of.items():
        slots = int(options["taskmanager.numberOfTaskSlots"])
        assert options[f"external-resource.{offered[part]}.amount"] == str(slots)
        assert slots >= 2 * sum(resource == offered[part] for resource in requested.values())
        assert options["taskmanager.memory.managed.size"] == f"{slots * SLOT_MANAGED_MB}m"
    assert options_of["taskmanager_prices"]["taskmanager.memory.segment-size"] == f"{BUFFER_BYTES} bytes"
    ports = [value for options in options_of.values() for key, value in options.items() if key.endswith("port")]
    assert len(set(ports)) == len(ports) == 6


def test_no_metrics_port_is_opened_without_metrics() -> None:
    for part in TASK_MANAGERS:
        assert not [
            key for key in config.taskmanager_options(part, some_ports(), 1, metrics=False) if "metrics" in key
        ]


def test_flink_config_requires_the_java_options_of_the_wheel(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"env\.java\.opts\.all"):
        config.flink_config(a_layout(tmp_path), some_ports(), shipped={}, checkpoint_interval_s=1, parallelism=2)


def test_task_manager_memory_must_be_a_size(tmp_path: Path) -> None:
    def made(memory: str | None) -> str:
        return config.flink_config(
            a_layout(tmp_path), some_ports(), shipped=SHIPPED, checkpoint_interval_s=1, parallelism=2,
            taskmanager_memory=memory,
        )  # fmt: skip

    assert yaml.safe_load(made(None))["taskmanager.memory.process.size"] == "4096m"
    assert yaml.safe_load(made("8g"))["taskmanager.memory.process.size"] == "8g"
    with pytest.raises(PlatformError, match="expected a size like 4096m or 8g, got 'much'"):
        made("much")


def test_broker_listens_on_loopback(tmp_path: Path) -> None:
    lines = dict(
        line.split("=", 1) for line in config.server_properties(a_layout(tmp_path), some_ports()).splitlines()
    )
    for key in ("listeners", "advertised.listeners", "controller.quorum.bootstrap.servers"):
        assert all(address.split("://")[-1].startswith(LOOPBACK + ":") for address in lines[key].split(","))


def test_platform_env_contains_addresses_of_the_users_servers(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    layout.run.mkdir()
    text = config.platform_env(some_ports(), clock="wall", external={"kafka": "mine:9092"}, extra={"BUCKETS": "8"})
    layout.platform_env.write_text(text)
    env = layout.read_env()
    assert env["WALRAS_KAFKA"] == "mine:9092"
    assert env["WALRAS_REDIS"] == f"redis://{LOOPBACK}:{some_ports()['redis']}/0"
    assert env["WALRAS_BUCKETS"] == "8"


@pytest.mark.usefixtures("clean_environment")
def test_settings_read_platform_env(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    layout.run.mkdir()
    layout.platform_env.write_text(
        config.platform_env(some_ports(), clock="sim:5:6:60", external={}, extra={"PARALLELISM": "1"})
    )
    settings = Settings.load(home=tmp_path)
    assert settings.flink == f"{LOOPBACK}:{some_ports()['flink']}"
    assert settings.run_clock.speed == 60
    assert settings.parallelism == 1


def test_supervisord_config_has_one_program_per_part_without_autostart(tmp_path: Path) -> None:
    parts = [Part("one", "first", lambda _: ["run", "with space", "100%"]), Part("two", "second", lambda _: ["x"])]
    text = supervision.supervisord_conf(a_layout(tmp_path), parts, some_ports())
    assert text.count("[program:") == 2
    assert text.count("autostart=false") == 2
    assert "command=run 'with space' 100%%" in text


def test_clock_continues_from_the_end_of_the_previous_run() -> None:
    assert config.next_clock(1, stopped_at_ms=9_000, now_ms=5_000) == "sim:9000:5000:1"
    assert config.next_clock(1, stopped_at_ms=4_000, now_ms=5_000) == "wall"
