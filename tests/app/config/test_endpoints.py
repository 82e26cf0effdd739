"""Where daemons listen: one spelling of each place, and what is no place."""

import re
from pathlib import Path

import msgspec
import pytest

from app.config import endpoints
from app.config.inventory import check_pop
from app.config.settings import load
from app.errors import ConfigError
from tests.pops import INVENTORY, demo_pop


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("[2001:DB8:0::1]:50051", "[2001:db8::1]:50051"),
        ("GoBGP.example.net.:50051", "gobgp.example.net:50051"),
        ("10.0.0.1:05051", "10.0.0.1:5051"),
        ("[::ffff:10.0.0.1]:5051", "10.0.0.1:5051"),
        ("localhost:1", "localhost:1"),
        ("gobgp_1:1", "gobgp_1:1"),
        ("unix:///run//gobgpd/../gobgpd.sock", "unix:///run/gobgpd.sock"),
        ("unix:////run/gobgpd.sock", "unix:///run/gobgpd.sock"),
    ],
)
def test_a_place_has_one_spelling(written: str, kept: str) -> None:
    assert endpoints.grpc(written) == kept
    assert endpoints.grpc(kept) == kept


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("0.0.0.0:1", "is where a daemon listens, not one host; write the address that it is reached at"),
        ("[::]:1", "is where a daemon listens, not one host"),
        ("999.1.1.1:1", "has no address of four numbers from 0 to 255; write HOST:PORT"),
        ("10.1:1", "has no address of four numbers from 0 to 255"),  # inet_aton reads 10.0.0.1
        ("0x7f.0x1:1", "has no address of four numbers from 0 to 255"),
        ("...:1", "is not HOST:PORT"),
        ("-:1", "is not HOST:PORT"),
        ("[10.0.0.1]:1", "is not HOST:PORT"),
        ("[fe80::1%eth0]:1", "is not HOST:PORT"),
        (f"{'9' * 6000}:1", "has no address of four numbers from 0 to 255"),
        (f"a:{'9' * 6000}", "is not HOST:PORT"),
        ("unix://run/gobgpd.sock", "has no absolute path"),
        ("unix://${run_dir}/gobgpd.sock", "has no absolute path"),
        ("unix:///run/$HOME/gobgpd.sock", "is no path of a socket: nothing is filled in here"),
    ],
)
def test_what_is_no_place_is_refused(written: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(remedy)}"):
        endpoints.grpc(written)


@pytest.mark.parametrize(
    ("target", "is_local"),
    [
        ("unix:///run/gobgpd.sock", True),
        ("localhost:1", True),
        ("127.3.2.1:1", True),
        ("[::1]:1", True),
        ("127.example.net:1", False),
        ("localhost.example.net:1", False),
        ("10.0.0.1:1", False),
        ("[2001:db8::1]:1", False),
    ],
)
def test_only_an_address_or_localhost_is_this_host(target: str, is_local: bool) -> None:
    assert endpoints.is_local(target) == is_local


def test_brokers_have_one_spelling_each() -> None:
    assert endpoints.brokers("Kafka-1:09092, [::FFFF:10.0.0.1]:9092") == "kafka-1:9092,10.0.0.1:9092"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("[2001:DB8::1]:50051", "[2001:db8::1]:50051"),
        ("GOBGP:50051", "gobgp:50051"),
        ("10.0.0.1:05051", "[::ffff:10.0.0.1]:5051"),
        ("localhost:50051", "127.0.0.1:50051"),
        ("[::1]:50051", "localhost:50051"),
        ("unix:///run/gobgpd.sock", "unix:///run//gobgpd.sock"),
    ],
)
def test_two_routers_of_one_gobgpd_are_seen_in_any_spelling(first: str, second: str) -> None:
    pop = demo_pop()
    routers = [
        msgspec.structs.replace(router, injector=msgspec.structs.replace(router.injector, grpc=grpc))
        for router, grpc in zip(pop.router, (first, second), strict=True)
    ]
    (said,) = check_pop(msgspec.structs.replace(pop, router=tuple(routers)))
    assert said.startswith("router[1].injector.grpc: ")
    assert said.endswith("is given twice, first in router[0].injector.grpc")


APART = (
    ('"192.0.2.', '"192.0.3.'),
    ("127.0.0.", "127.0.1."),
    ("2001:db8:ffff", "2001:db8:fffe"),
    ('"r1"', '"s1"'),
    ('"r2"', '"s2"'),
    ("{ r1 =", "{ s1 ="),
    ("{ r2 =", "{ s2 ="),
    ('name = "rhv1000"', 'name = "other"'),
)
R1, R2 = (f"unix:///run/autopilot/injector-r{number}.sock" for number in (1, 2))


def two_pops(folder: Path, settings: str, first: dict[str, str], second: dict[str, str]) -> list[str]:
    """The mistakes of the demo's PoP and of a copy of it with other names and addresses, both with changes."""
    text = INVENTORY.read_text(encoding="utf-8")
    for name, pairs in (("first.toml", first.items()), ("second.toml", [*APART, *second.items()])):
        changed = text
        for old, new in pairs:
            assert old in changed, old
            changed = changed.replace(old, new)
        (folder / name).write_text(changed, encoding="utf-8")
    (folder / "autopilot.toml").write_text(f'pops = ["first.toml", "second.toml"]\n{settings}', encoding="utf-8")
    try:
        load(folder / "autopilot.toml", {})
    except ConfigError as error:
        return error.problems
    return []


OTHER_AS = {"asn = 64512": "asn = 64513"}
ONE_CELL = '[cells]\nwest = ["rhv1000", "other"]'


def test_a_gobgpd_of_two_pops_is_seen_whatever_their_as(tmp_path: Path) -> None:
    second = OTHER_AS | {R1: "10.0.0.1:50051", R2: "10.0.0.2:50051"}
    said = two_pops(tmp_path, "", {R1: "10.0.0.1:50051"}, second)
    assert said == [
        "second.toml.router[0].injector.grpc: '10.0.0.1:50051' is also router[0].injector.grpc of first.toml;"
        " each router has a gobgpd of its own"
    ]


@pytest.mark.parametrize("target", ["localhost:50051", "unix:///run/gobgpd.sock"])
def test_a_target_on_this_host_is_one_gobgpd_within_a_cell_only(tmp_path: Path, target: str) -> None:
    second = OTHER_AS | {R1: target, R2: "10.0.0.2:50051"}
    assert two_pops(tmp_path, "", {R1: target}, second) == []
    (said,) = two_pops(tmp_path, ONE_CELL, {R1: target}, second)
    assert said.startswith(f"second.toml.router[0].injector.grpc: {target!r} is also router[0].injector.grpc of first")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'loopback4 = "192.0.3.11"',
            'loopback4 = "192.0.2.1"',
            "router[0].loopback4: '192.0.2.1' is also router",
        ),
        ('address = "127.0.1.21"', 'address = "192.0.2.12"', "router[0].injector.address: '192.0.2.12' is also router"),
        ('ibgp_address = "127.0.1.11"', 'ibgp_address = "127.0.0.21"', "router[0].ibgp_address: '127.0.0.21' is also"),
    ],
)
def test_an_address_belongs_to_one_router_of_an_as(tmp_path: Path, old: str, new: str, problem: str) -> None:
    (said,) = two_pops(tmp_path, "", {}, {old: new})
    assert said.startswith(f"second.toml.{problem}")
    assert two_pops(tmp_path, "", {}, OTHER_AS | {old: new}) == []


def test_injectors_of_two_sites_may_be_numbered_alike(tmp_path: Path) -> None:
    assert two_pops(tmp_path, "", {}, {'address = "127.0.1.21"': 'address = "127.0.0.21"'}) == []
