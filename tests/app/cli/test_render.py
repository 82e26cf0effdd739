"""`autopilot render`: files beside each other, or a folder a PoP; and who may do what at the broker."""

import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.config.collectors import BMP_ALLOWED, FLOWS_ALLOWED, PMBMPD_LINES, PRODUCER
from app.contract.identities import identities
from app.routers.router_files import PLATFORMS
from tests.pops import INVENTORY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = INVENTORY.read_text()
    (tmp_path / "a.toml").write_text(text.replace('name = "rhv1000"', 'name = "a"', 1))
    (tmp_path / "b.toml").write_text(text.replace('name = "rhv1000"\nasn = 64512', 'name = "b"\nasn = 64513', 1))
    path = tmp_path / "autopilot.toml"
    path.write_text('pops = ["a.toml", "b.toml"]\n')
    return path


def render(config: Path, *options: object, what: str = "collectors") -> tuple[int, str]:
    result = CliRunner().invoke(main, ["render", what, "--config", str(config), *map(str, options)])
    return result.exit_code, result.output


def test_each_pop_has_its_folder(config: Path, tmp_path: Path) -> None:
    code, printed = render(config, "--out", tmp_path / "out")
    assert code == 0
    files = [tmp_path / "out" / pop / name for pop in "ab" for name in (FLOWS_ALLOWED, BMP_ALLOWED, PMBMPD_LINES)]
    assert all(path.exists() and str(path) in printed for path in files)
    assert str(tmp_path / "out" / "a" / BMP_ALLOWED) in (tmp_path / "out" / "a" / PMBMPD_LINES).read_text()


def test_a_password_is_in_a_file_of_the_user_alone(config: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    login = '[kafka]\nsecurity = "sasl-scram"\nusername = "flows"\npassword_file = "password"\n'
    config.write_text(config.read_text() + login)
    code, printed = render(config, "--pop", "a", "--out", tmp_path / "out")
    assert code == 0
    assert "secret" not in printed
    path = tmp_path / "out" / PRODUCER
    assert "global, sasl.password, secret\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "password").unlink()
    code, printed = render(config, "--pop", "a", "--out", tmp_path / "out")
    assert code == 2
    assert "kafka.password_file: " in printed


def test_one_pop_needs_none(config: Path, tmp_path: Path) -> None:
    code, _ = render(config, "--pop", "b", "--out", tmp_path)
    assert code == 0
    assert "127.0.0.1" in (tmp_path / FLOWS_ALLOWED).read_text().splitlines()


def test_what_is_wrong_is_said(config: Path, tmp_path: Path) -> None:
    assert render(config, "--pop", "c")[0] == 2
    (tmp_path / "taken").write_text("")
    code, printed = render(config, "--pop", "a", "--out", tmp_path / "taken" / "in")
    assert code == 1
    assert "choose another --out" in printed


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_router_has_a_file_of_its_platform_and_one_of_its_gobgpd(
    config: Path, tmp_path: Path, platform: str
) -> None:
    options = ("--platform", platform, "--bmp", "[2001:db8::53]:1790", "--pop", "a", "--out", tmp_path / "out")
    code, printed = render(config, *options, what="routers")
    assert code == 0
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == sorted(
        f"{router}.{name}" for router in ("r1", "r2") for name in (PLATFORMS[platform], "injector.toml")
    )
    assert all(name in printed for name in files)
    text = (tmp_path / "out" / f"r2.{PLATFORMS[platform]}").read_text()
    assert "127.0.0.22" in text
    assert platform == "bird" or "2001:db8::53" in text


@pytest.mark.parametrize(
    ("bmp", "said"),
    [
        ("198.51.100.53", "'198.51.100.53' is not HOST:PORT; write ADDRESS:PORT"),
        ("pmbmpd.example.net:1790", "'pmbmpd.example.net:1790' has a name; write the digits of its address"),
        ("198.51.100.53:0", "has no port from 1 to 65535"),
    ],
)
def test_where_pmbmpd_listens_is_an_address(config: Path, tmp_path: Path, bmp: str, said: str) -> None:
    code, printed = render(config, "--platform", "frr", "--bmp", bmp, "--out", tmp_path, what="routers")
    assert code == 2
    assert said in " ".join(printed.replace("\u2502", "").split())


def test_whole_configurations_name_where_they_listen_and_their_own_plugin(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + '[kafka]\nbroker = "[2001:db8::1]:9093,b:9092"\n[windows]\nrefresh_s = 1\n')
    code, printed = render(config, "--pop", "a", "--listen", "::", "--plugin", "flows_1", "--out", tmp_path / "out")
    assert code == 0, printed
    sfacctd, pmbmpd = ((tmp_path / "out" / f"{name}.conf").read_text() for name in ("sfacctd", "pmbmpd"))
    assert "sfacctd_ip: ::\n" in sfacctd
    assert "bmp_daemon_ip: ::\n" in pmbmpd
    assert "[flows]" not in sfacctd
    for line in (
        "plugins: kafka[flows_1]",
        "kafka_broker_host[flows_1]: 2001:db8::1",
        "kafka_broker_port[flows_1]: 9093",
        "kafka_topic[flows_1]: sfacctd-flows-a",
        "kafka_refresh_time[flows_1]: 1",
        f"kafka_config_file[flows_1]: {tmp_path / 'out' / PRODUCER}",
    ):
        assert f"{line}\n" in sfacctd
    assert f"bmp_daemon_allow_file: {tmp_path / 'out' / BMP_ALLOWED}\n" in pmbmpd
    assert not (tmp_path / "out" / PMBMPD_LINES).exists(), "its lines stand in the whole"
    code, printed = render(config, "--pop", "a", "--listen", "here", "--out", tmp_path / "out")
    assert code == 2
    assert "'here' is not an IP address" in printed


def test_a_gobgpd_may_speak_from_any_address(config: Path, tmp_path: Path) -> None:
    assert render(config, "--out", tmp_path / "one", what="gobgpd")[0] == 0
    assert render(config, "--any-address", "--out", tmp_path / "any", what="gobgpd")[0] == 0
    one, other = ((tmp_path / folder / "a" / "r1.injector.toml").read_text() for folder in ("one", "any"))
    assert set(one.splitlines()) - set(other.splitlines()) == {'transport.config.local-address = "127.0.0.21"'}
    assert set(other.splitlines()) < set(one.splitlines())


LINE = re.compile(r"kafka-acls\.sh --bootstrap-server b:9093 --command-config admin\.properties --add ")


def rights_of(printed: str) -> set[tuple[str, str, str, bool, str]]:
    """Principal, resource, name, whether it is a prefix, and operation, of each right in these commands."""
    found = set()
    for line in printed.splitlines():
        assert LINE.match(line)
        words = shlex.split(LINE.sub("", line))
        given: dict[str, list[str]] = defaultdict(list)
        for option, value in zip(words[::2], words[1::2], strict=True):
            given[option].append(value)
        [principal] = given.pop("--allow-principal")
        operations, is_prefix = given.pop("--operation"), given.pop("--resource-pattern-type", None) == ["prefixed"]
        [(resource, names)] = given.items()
        found |= {(principal, resource[2:], name, is_prefix, each) for name in names for each in operations}
    return found


def test_the_commands_for_kafka_give_each_right_and_no_other(config: Path) -> None:
    config.write_text(config.read_text() + '[kafka]\nbroker = "b:9093"\n[cells]\nwest = ["a"]\n')
    code, printed = render(config, what="acls")
    assert code == 0
    wanted = {
        (f"User:CN={one.name}", right.resource, right.name, right.prefixed, operation)
        for one in identities({"west": ["a"], "b": ["b"]})
        for right in one.rights
        for operation in right.operations
    }
    assert rights_of(printed) == wanted
    _, printed = render(config, "--principal", "User:OU=net,CN=NAME", what="acls")
    assert {right[0] for right in rights_of(printed)} == {right[0].replace("CN", "OU=net,CN") for right in wanted}


def test_users_with_passwords_are_named_by_their_logins(config: Path) -> None:
    login = '[kafka]\nbroker = "b:9093"\nsecurity = "sasl-scram"\nusername = "me"\npassword_file = "password"\n'
    config.write_text(config.read_text() + login)
    _, printed = render(config, what="acls")
    assert "--allow-principal User:autopilot-view " in printed
    _, printed = render(config, "--format", "strimzi", "--cluster", "hub", what="acls")
    assert "type: scram-sha-512" in printed
    assert "type: tls" not in printed


def test_strimzi_gets_a_user_for_each_identity(config: Path) -> None:
    code, printed = render(config, "--format", "strimzi", "--cluster", "hub", what="acls")
    assert code == 0
    users = printed.split("---\n")[1:]
    assert [re.findall(r"^  name: (.*)$", user, re.MULTILINE) for user in users] == [
        [one.name] for one in identities({"a": ["a"], "b": ["b"]})
    ]
    [view] = [user for user in users if "name: autopilot-view\n" in user]
    assert view.startswith("apiVersion: kafka.strimzi.io/v1 ")
    assert "strimzi.io/cluster: hub\n" in view
    rule = "      - resource: {type: topic, name: decisions-a, patternType: literal}\n        operations: [Read]\n"
    assert rule in view
    assert "Write" not in view
    assert "{type: group, name: autopilot-consumer, patternType: prefix}" in printed


@pytest.mark.parametrize("name", ["A", "a_b", "a" * 50])
def test_a_name_that_strimzi_cannot_have_is_said(config: Path, name: str) -> None:
    config.write_text(config.read_text() + f'[cells]\n{name} = ["a"]\n')
    code, printed = render(config, "--format", "strimzi", "--cluster", "hub", what="acls")
    assert code == 2
    assert f"autopilot-telemetry-{name}: a KafkaUser cannot have this name" in printed


def test_what_acls_need_is_said(config: Path) -> None:
    code, printed = render(config, "--format", "strimzi", what="acls")
    assert (code, "needs --cluster" in printed) == (2, True)
    code, printed = render(config, "--principal", "User:me", what="acls")
    assert (code, "has no NAME in it" in printed) == (2, True)
