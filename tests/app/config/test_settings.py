"""Settings: defaults that hold together, the environment's overlay, and every mistake of all files at once."""

from math import inf, nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.config.forms import WINDOW_MAX_S
from app.config.settings import Deployment, Kafka, Settings, check_settings, load
from app.config.thresholds import Pacing, Thresholds, WindowSettings
from app.contract.schemas import Seconds
from app.errors import ConfigError
from app.web.pop_model import HISTORY_S
from tests.pops import INVENTORY, demo_pop


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return caught.value.problems


def test_the_defaults_hold_together_and_are_safe() -> None:
    settings = Settings(pops=("rhv1000.toml",))
    assert check_settings(settings, ["rhv1000"]) == []
    assert settings.mode == "dry-run"


def test_a_cell_is_a_pop_or_a_list_of_them(tmp_path: Path) -> None:
    deployment = load(write(tmp_path, 'pops = ["rhv1000.toml"]\n[cells]\nwest = ["rhv1000"]'), {})
    assert list(deployment.cell("rhv1000")) == list(deployment.cell("west")) == ["rhv1000"]
    with pytest.raises(ConfigError, match="no PoP east"):
        deployment.cell("east")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml"]\nmode = "observe"\n[kafka]\nbroker = "a:1"')
    environ = {"AUTOPILOT_BROKER": "b:2", "AUTOPILOT_MODE": "dry-run", "AUTOPILOT_LOG_FORMAT": "text"}
    deployment = load(path, environ)
    assert isinstance(deployment, Deployment)
    settings = deployment.settings
    assert (settings.kafka.broker, settings.mode, settings.log_format) == ("b:2", "dry-run", "text")


def test_paths_are_relative_to_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", 'pops = ["rhv1000.toml"]\ndata_dir = "state"')
    monkeypatch.chdir(tmp_path)
    settings = load(Path("etc/autopilot.toml"), {}).settings
    assert (settings.data_dir, settings.halt_file) == (f"{tmp_path}/etc/state", f"{tmp_path}/etc/halt")
    settings = load(Path("etc/autopilot.toml"), {"AUTOPILOT_DATA_DIR": "data"}).settings
    assert settings.data_dir == f"{tmp_path}/etc/data"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml"]\ndata_dir = "/var/lib/autopilot"\nhalt_file = "/run/halt"')
    settings = load(path, {}).settings
    assert (settings.data_dir, settings.halt_file) == ("/var/lib/autopilot", "/run/halt")


def test_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'pops = ["rhv1000.toml", "nowhere.toml"]\n[thresholds]\nleave = 0.95\n[cells]\nwest = ["east"]'
    )
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text().replace("asn = 64512", "", 1))
    problems = problems_of(path)
    assert len(problems) == 4
    assert "rhv1000.toml.asn: is missing; write a whole number, without quotes and without a point" in problems
    assert any("nowhere.toml: cannot be read" in problem for problem in problems)
    leave = "autopilot.toml.thresholds.leave: 0.95 must be below thresholds.enter (0.9), or congestion closes and opens"
    assert any(problem.startswith(leave) for problem in problems)
    assert "autopilot.toml.cells.west[0]: no PoP east; known: rhv1000" in problems


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"thresholds": Thresholds(saturated=0.85)},
            "thresholds.enter: 0.9 must not be above thresholds.saturated (0.85)",
        ),
        ({"thresholds": Thresholds(shed_to=0.95)}, "thresholds.shed_to: 0.95 must not be above thresholds.enter (0.9)"),
        ({"thresholds": Thresholds(fill_to=0.9)}, "thresholds.fill_to: 0.9 must be below thresholds.enter (0.9)"),
        (
            {"thresholds": Thresholds(jump=0)},
            "thresholds.jump: 0 is out of range; write a number above 0, and at most 1",
        ),
        ({"thresholds": Thresholds(ratio_high=1)}, "thresholds.ratio_high: 1 is out of range; write a number above 1"),
        ({"pacing": Pacing(share_decay_s=0)}, "pacing.share_decay_s: 0 is out of range; write a number above 0"),
        ({"pacing": Pacing(share_decay_s=-1)}, "pacing.share_decay_s: -1 is out of range"),
        ({"pacing": Pacing(share_decay_s=nan)}, "pacing.share_decay_s: nan is out of range"),
        ({"pacing": Pacing(lease_s=0)}, "pacing.lease_s: 0 is out of range"),
        ({"pacing": Pacing(lease_s=inf)}, "pacing.lease_s: inf is out of range"),
        ({"pacing": Pacing(add_within_s=-1)}, "pacing.add_within_s: -1 is out of range"),
        ({"pacing": Pacing(min_stay_s=-1)}, "pacing.min_stay_s: -1 is out of range"),
        ({"state_port": 65_536}, "state_port: 65536 is out of range; write a number from 1 to 65535"),
        ({"state_port": 0}, "state_port: 0 is out of range"),
        ({"actuator_port": -1}, "actuator_port: -1 is out of range; write a number from 0 to 65535"),
        ({"actuator_port": 70_000}, "actuator_port: 70000 is out of range"),
        ({"view_port": 0}, "view_port: 0 is out of range"),
        ({"actuator_port": 6070}, "actuator_port: 6070 is given twice, first in state_port"),
        ({"view_port": 6070}, "view_port: 6070 is given twice, first in state_port"),
        (
            {"windows": WindowSettings(retention_s=179)},
            "windows.retention_s: 179 must be at least 2 * pacing.share_decay_s (180), the history of shares",
        ),
        (
            {"windows": WindowSettings(length_s=300)},
            "windows.retention_s: 600 must be at least 3 * windows.length_s (900)",
        ),
        ({"kafka": Kafka(standby_replicas=2)}, "kafka.standby_replicas: 2 is out of range; write a number from 0 to 1"),
        ({"kafka": Kafka(replication_factor=0)}, "kafka.replication_factor: 0 is out of range"),
        ({"kafka": Kafka(session_timeout_s=5)}, "kafka.session_timeout_s: 5 is out of range; write a number from 6"),
        (
            {"kafka": Kafka(broker="10.0.0.1")},
            "kafka.broker: '10.0.0.1' is not HOST:PORT; write HOST:PORT or [IPV6]:PORT",
        ),
        ({"cells": {"a": ("rhv1000",), "b": ("rhv1000",)}}, "cells.b[0]: 'rhv1000' is also cells.a[0]"),
        ({"cells": {"a": ("rhv1000", "rhv1000")}}, "cells.a[1]: 'rhv1000' is also cells.a[0]; a PoP is in one cell"),
        ({"cells": {"rhv 1": ("rhv1000",)}}, "cells.rhv 1: 'rhv 1' cannot be part of a topic's name"),
        ({"cells": {"rhv1000": ("x",)}}, "cells.rhv1000: is the name of PoP rhv1000, which is not in this cell"),
        ({"cells": {"west": ()}}, "cells.west: is empty; write the PoPs of this cell, or leave it out"),
        ({"pacing": Pacing(lease_s=9)}, "pacing.lease_s: 9 must be at least 42: three windows, the grace of the last"),
        ({"windows": WindowSettings(length_s=100)}, "pacing.lease_s: 300 must be at least 312: three windows"),
        ({"pacing": Pacing(add_within_s=0.001)}, "pacing.add_within_s: 0.001 must be at least 8: windows.grace_s"),
        ({"windows": WindowSettings(grace_s=30)}, "pacing.add_within_s: 30 must be at least 36: windows.grace_s"),
        (
            {"windows": WindowSettings(grace_s=9000)},
            "windows.grace_s: 9000 must be below windows.retention_s (600), or rows go while their windows are open",
        ),
        ({"windows": WindowSettings(refresh_s=0)}, "windows.refresh_s: 0 is out of range; write a number above 0"),
        ({"windows": WindowSettings(length_s=3600)}, "windows.length_s: 3600 is out of range; write a number from 1"),
        ({"windows": WindowSettings(length_s=86_401)}, "windows.length_s: 86401 is out of range"),
        ({"halt_file": "data", "data_dir": "./data"}, "halt_file: 'data' is also data_dir"),
        ({"pops": ()}, "pops: is empty; write the names of the inventory files"),
        ({"pops": ("a.toml", "a.toml")}, "pops[1]: 'a.toml' is given twice, first in pops[0]"),
    ],
)
def test_every_mistake_between_keys_is_named(changes: dict[str, Any], problem: str) -> None:
    settings = msgspec.structs.replace(Settings(pops=("rhv1000.toml",)), **changes)
    assert [said for said in check_settings(settings, ["rhv1000"]) if said.startswith(problem)]


def test_the_longest_window_fits_into_our_records_and_our_page() -> None:
    assert msgspec.convert(WINDOW_MAX_S, Seconds) == WINDOW_MAX_S
    assert HISTORY_S // WINDOW_MAX_S >= 3


@pytest.mark.parametrize(
    ("broker", "remedy"),
    [
        ("::1:9092", "is not HOST:PORT; if the port is 9092, write '[::1]:9092'"),
        ("2001:db8::1", "is not HOST:PORT"),
        ("[2001:db8::1]", "is not HOST:PORT"),
        ("[::g]:9092", "is not HOST:PORT"),
        ("kafka", "is not HOST:PORT"),
        ("kafka:0", "has no port from 1 to 65535"),
        ("kafka:99999", "has no port from 1 to 65535"),
        ("kafka://a:9092", "is not HOST:PORT"),
        ("a:9092,", "is not HOST:PORT"),
        ("a:9092;b:9092", "is not HOST:PORT"),
    ],
)
def test_a_broker_that_cannot_be_reached_by_its_address(broker: str, remedy: str) -> None:
    settings = Settings(pops=("rhv1000.toml",), kafka=Kafka(broker=broker))
    (said,) = check_settings(settings, ["rhv1000"])
    assert said.startswith(f"kafka.broker: {broker!r} {remedy}")


@pytest.mark.parametrize(
    "broker", ["localhost:9092", "[::1]:9092", "10.0.0.1:1, kafka-2.example.net:65535", "[2001:db8::1]:9"]
)
def test_brokers_by_name_and_address(broker: str) -> None:
    assert check_settings(Settings(pops=("rhv1000.toml",), kafka=Kafka(broker=broker)), ["rhv1000"]) == []


def test_mistakes_of_settings_hide_none_of_the_inventories(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml"]\nspeed = 9\nstate_port = "6070"\n[thresholds]\nenter = 0.7\n')
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text().replace("ifindexes = [102]", "ifindexes = [0]", 1))
    problems = problems_of(path)
    for begin in (
        "rhv1000.toml.link[1].ifindexes[0]: 0 is not an ifIndex",
        "autopilot.toml.speed: unknown key",
        "autopilot.toml.state_port: '6070' is text",
        "autopilot.toml.thresholds.leave: 0.8 must be below thresholds.enter (0.7)",
    ):
        assert [problem for problem in problems if problem.startswith(begin)], problems


def test_what_the_environment_says_is_blamed_on_it(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml"]')
    with pytest.raises(ConfigError) as caught:
        load(path, {"AUTOPILOT_BROKER": "::1:9092", "AUTOPILOT_MODE": "yolo"})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "AUTOPILOT_MODE in the environment",
        "AUTOPILOT_BROKER in the environment",
    ]


def two_pops(tmp_path: Path, *changes: tuple[str, str], first: str = "rhv1000") -> list[str]:
    """The mistakes of a deployment of two PoPs: the demo's, and a copy of it with these changes."""
    path = write(tmp_path, 'pops = ["rhv1000.toml", "other.toml"]')
    text = INVENTORY.read_text()
    (tmp_path / "rhv1000.toml").write_text(text.replace('name = "rhv1000"', f'name = "{first}"'))
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "other.toml").write_text(text)
    return problems_of(path)


APART = (
    ('"192.0.2.', '"192.0.3.'),
    ("127.0.0.1", "127.0.1.1"),
    ("2001:db8:ffff", "2001:db8:fffe"),
    ('"r1"', '"s1"'),
    ('"r2"', '"s2"'),
)
APART_CORE = (("{ r1 =", "{ s1 ="), ("{ r2 =", "{ s2 ="))


def test_pops_share_no_name(tmp_path: Path) -> None:
    assert two_pops(tmp_path, *APART, *APART_CORE) == [
        "other.toml.name: 'rhv1000' is that of another PoP (rhv1000.toml); write another"
    ]


def test_names_that_differ_by_a_dot_and_an_underscore_are_one_for_kafka(tmp_path: Path) -> None:
    """Kafka refuses the second topic: its metrics would mix the two (InvalidTopicException: collides)."""
    problems = two_pops(tmp_path, *APART, *APART_CORE, ('name = "rhv1000"', 'name = "rhv.1"'), first="rhv_1")
    assert problems == ["other.toml.name: 'rhv.1' is too like 'rhv_1' for Kafka's topics (rhv1000.toml); write another"]


def test_pops_share_no_router(tmp_path: Path) -> None:
    problems = two_pops(tmp_path, ('name = "rhv1000"', 'name = "other"'))
    keys = {problem.partition(":")[0] for problem in problems}
    names = ("agent_address", "loopback4", "loopback6", "ibgp_address", "bmp_sysname")
    assert keys == {f"other.toml.router[{number}].{name}" for number in (0, 1) for name in names}
    assert problems[0].endswith("'192.0.2.1' is also router[0].agent_address of rhv1000.toml; one of them is wrong")


def test_unknown_keys_and_values_are_named(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, 'pops = ["rhv1000.toml"]\nmode = "yolo"\n[kafka]\nbrokers = "a:1"'))
    assert "autopilot.toml.mode: 'yolo' is not one of observe, dry-run, auto" in problems
    assert any(problem.startswith("autopilot.toml.kafka.brokers: unknown key") for problem in problems)


def test_a_second_worker_on_this_host_has_a_folder_and_a_port_of_its_own() -> None:
    deployment = Deployment(Settings(pops=("rhv1000.toml",), data_dir="/data"), {"rhv1000": demo_pop()})
    assert deployment.instance(None, None) == deployment
    other = deployment.instance("b", 6071)
    assert (other.settings.data_dir, other.settings.state_port) == ("/data/b", 6071)
    assert other.pops == deployment.pops


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[marks]\nenter = 0.9", "autopilot.toml.marks: was renamed to thresholds"),
        ("[thresholds]\nact_now = 0.97", "autopilot.toml.thresholds.act_now: was renamed to saturated"),
        ("[pacing]\nhold_s = 300", "autopilot.toml.pacing.hold_s: was renamed to lease_s"),
        ("[pacing]\nmin_hold_s = 300", "autopilot.toml.pacing.min_hold_s: was renamed to min_stay_s"),
        ("[pacing]\nunwind_share = 0.3", "autopilot.toml.pacing.unwind_share: was renamed to release_share"),
    ],
)
def test_an_old_key_names_the_new_one(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, f"pops = []\n{text}\n"), environ={})
    assert said in caught.value.problems


def test_a_renamed_key_exists() -> None:
    """Else the advice leads nowhere."""
    for kind in (Settings, Thresholds, Pacing):
        assert set(kind.RENAMED.values()) <= set(kind.__struct_fields__), kind


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ('security = "tls"', []),
        ('security = "mtls"\ncert_file = "a"\nkey_file = "b"\nca_file = "c"', []),
        ('security = "sasl-scram"\nusername = "a"\npassword_file = "b"', []),
        (
            'security = "mtls"\ncert_file = "a"',
            ['kafka.key_file: is missing; security = "mtls" needs cert_file and key'],
        ),
        (
            'security = "sasl-scram"\nca_file = "a"',
            ["kafka.username: is missing; ", "kafka.password_file: is missing; "],
        ),
        (
            'security = "sasl-scram"\nusername = "a"\npassword_file = "b"\nkey_file = "c"',
            ["kafka.cert_file: is missing; "],
        ),
        (
            'ca_file = "a"',
            ['kafka.ca_file: is not used with security = "plaintext"; leave it out, or write "tls" or "m'],
        ),
        (
            'security = "tls"\nusername = "a"',
            ['kafka.username: is not used with security = "tls"; leave it out, or wri'],
        ),
        ('security = "ssl"', ["kafka.security: 'ssl' is not one of plaintext, tls, mtls, sasl-scram"]),
        ('password = "secret"', ["kafka.password: unknown key; did you mean password_file?"]),
    ],
)
def test_a_way_to_the_broker_needs_its_keys_and_no_others(tmp_path: Path, keys: str, problems: list[str]) -> None:
    path = write(tmp_path, f'pops = ["rhv1000.toml"]\n[kafka]\n{keys}')
    said = problems_of(path) if problems else [] if load(path, {}) else ["nothing"]
    assert len(said) == len(problems), said
    for problem, begin in zip(said, problems, strict=True):
        assert problem.startswith(f"autopilot.toml.{begin}")
        assert "secret" not in problem


def test_files_of_the_broker_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    keys = 'security = "mtls"\nca_file = "/etc/ca.crt"\ncert_file = "tls.crt"\nkey_file = "tls.key"'
    kafka = load(write(tmp_path, f'pops = ["rhv1000.toml"]\n[kafka]\n{keys}'), {}).settings.kafka
    assert (kafka.ca_file, kafka.cert_file) == ("/etc/ca.crt", f"{tmp_path}/tls.crt")


SECRET, PROXY = 'proxy_secret_file = "secret"', 'proxies = ["192.0.2.1"]'


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ('[gobgp]\nca_file = "a"\ncert_file = "b"\nkey_file = "c"', []),
        ('[gobgp]\ncert_file = "b"', ["gobgp.ca_file: is missing; mutual TLS needs", "gobgp.key_file: is missing; "]),
        (f"[http]\n{SECRET}\n{PROXY}", []),
        (f"[http]\n{PROXY}", ["http.proxy_secret_file: is missing; write a file with a secret there"]),
        (f"[http]\n{SECRET}", ["http.proxies: is empty; write the addresses that the proxy comes from"]),
        ('[http]\nproxies = ["edge.example.net"]', ["http.proxies[0]: ", "http.proxy_secret_file: is missing"]),
        ('[http]\nallowed_hosts = ["A.example", "192.0.2.1", "[2001:DB8::1]", "2001:db8::2"]', []),
        *(
            (f'[http]\nallowed_hosts = ["{name}"]', [f"http.allowed_hosts[0]: {name!r} is no"])
            for name in ("*", "*.example.net", "http://a.example", "a.example/", "a b", "")
        ),
        ('[http]\nallowed_hosts = ["a.example:6072"]', ["http.allowed_hosts[0]: "]),
        ('[http]\nuser_header = "X User"', ["http.user_header: 'X User' is no name of a header"]),
    ],
)
def test_whom_gobgpds_and_the_page_believe(tmp_path: Path, keys: str, problems: list[str]) -> None:
    path = write(tmp_path, f'pops = ["rhv1000.toml"]\n{keys}')
    said = problems_of(path) if problems else [] if load(path, {}) else ["nothing"]
    assert len(said) == len(problems), said
    assert all(problem.startswith(f"autopilot.toml.{begin}") for problem, begin in zip(said, problems, strict=True))


def test_hosts_are_written_in_one_way_and_files_are_relative_to_the_settings(tmp_path: Path) -> None:
    hosts = 'allowed_hosts = ["A.Example", "[2001:DB8:0::1]"]'
    gobgp = '[gobgp]\nca_file = "/etc/ca.crt"\ncert_file = "our.crt"\nkey_file = "our.key"'
    settings = load(
        write(tmp_path, f'pops = ["rhv1000.toml"]\n{gobgp}\n[http]\n{SECRET}\n{PROXY}\n{hosts}'), {}
    ).settings
    assert settings.http.allowed_hosts == ("a.example", "2001:db8::1")
    assert settings.http.proxy_secret_file == f"{tmp_path}/secret"
    assert settings.gobgp.files.paths == {
        "ca_file": "/etc/ca.crt",
        "cert_file": f"{tmp_path}/our.crt",
        "key_file": f"{tmp_path}/our.key",
    }
