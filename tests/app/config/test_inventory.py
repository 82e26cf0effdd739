"""Inventories: what is derived from them, and every mistake listed at once."""

from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.bgp.wire import community_number, community_text
from app.config.inventory import Budgets, check_pop, load_pop
from app.errors import ConfigError
from tests.pops import INVENTORY, demo_pop


def test_lookups() -> None:
    pop = demo_pop()
    assert pop.link_by_interface["r2", 103] == "rhv1000/r2/et-0/0/3"
    assert (
        pop.link_by_next_hop["r1", "198.51.100.2"] == pop.link_by_session["r1", "127.0.0.32"] == "rhv1000/r1/et-0/0/2"
    )
    assert pop.ingress_by_interface["r1", 2] == "r2"
    assert pop.marker_community == "64512:911"
    assert check_pop(pop) == []


def write(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = INVENTORY.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "pop.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_pop(path)
    return caught.value.problems


def test_every_mistake_of_shape_is_listed_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("asn = 64512", 'asn = "64512"\ncolour = "blue"'),
        ('kind = "pni"', 'kind = "peering"'),
        ("capacity_bps = 100e9\n", ""),
    )
    assert problems_of(path) == [
        "pop.toml.colour: unknown key; known: name, asn, own_prefixes, router, link, marker, marker_asn,"
        " override_local_pref, budgets, pinned_prefixes",
        "pop.toml.asn: expected `int`, got `str`",
        "pop.toml.link[0].capacity_bps: missing",
        "pop.toml.link[0].kind: 'peering' is not one of pni, ixp, transit",
    ]


def test_every_mistake_between_parts_is_listed(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("ifindexes = [102]", "ifindexes = [101]"),
        ('router = "r1"', 'router = "r9"'),
        ('loopback4 = "192.0.2.11"', 'loopback4 = "127.0.0.11"'),
        ("core = { r2 = 2 }", "core = { r7 = 2 }"),
        ('"198.18.0.0/16"', '"198.18.0.1/16"'),
        ("capacity_bps = 10e9", "capacity_bps = 0"),
    )
    problems = "\n".join(problems_of(path))
    for mistake in (
        "router r9 does not exist",
        "loopback 127.0.0.11 is 127/8",
        "router r1: r7 is not another router",
        "'198.18.0.1/16' is not a network",
        "capacity_bps must be above 0",
    ):
        assert mistake in problems


@pytest.mark.parametrize("prefix", ["198.18.0.1", "198.18.0.0/255.255.0.0", "2001:DB8::/32", "fe80::%eth0/64"])
@pytest.mark.parametrize("key", ["own_prefixes", "pinned_prefixes"])
def test_prefixes_are_written_as_the_guards_read_them(key: str, prefix: str) -> None:
    pop = msgspec.structs.replace(demo_pop(), **{key: (prefix,)})
    assert check_pop(pop) == [f"prefix {prefix!r} is not a network in canonical form"]


def test_duplicates_are_named() -> None:
    pop = demo_pop()
    twice = msgspec.structs.replace(pop, link=(*pop.link, pop.link[0]))
    assert "session r1/127.0.0.31 is given twice" in check_pop(twice)
    assert "interface r1/101 is given twice" in check_pop(twice)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = ", b""])
def test_what_is_not_an_inventory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pop.toml"
    path.write_bytes(content)
    assert problems_of(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in problems_of(tmp_path / "nowhere.toml")[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"asn": 4_200_000_001}, "marker community 4200000001:911: both halves have 16 bits; set marker_asn"),
        ({"marker_asn": 65_535}, "marker community 65535:911"),  # the well-known communities
        ({"marker_asn": 0}, "marker community 0:911"),
        ({"marker": 65_536 + 911}, "marker community 64512:66447"),
        ({"marker": -1}, "marker community 64512:-1"),
        ({"asn": 0}, "asn must be 1 to 4294967295"),
        ({"asn": 2**32, "marker_asn": 64_512}, "asn must be 1 to 4294967295"),
        (
            {"override_local_pref": 300},
            "override_local_pref must be above the local_pref of every link; the highest is",
        ),
        ({"override_local_pref": 2**32}, "override_local_pref must be at most 4294967295"),
    ],
)
def test_a_route_of_ours_is_known_and_wins(changes: dict[str, Any], problem: str) -> None:
    assert problem in "\n".join(check_pop(msgspec.structs.replace(demo_pop(), **changes)))


def test_a_four_byte_as_marks_with_another_number() -> None:
    pop = msgspec.structs.replace(demo_pop(), asn=4_200_000_001, marker_asn=64_512)
    assert check_pop(pop) == []
    assert community_text(community_number(pop.marker_community)) == "64512:911"


@pytest.mark.parametrize(
    ("budgets", "problem"),
    [
        (Budgets(max_overrides=-1), "budgets.max_overrides and max_new_per_cycle must not be negative"),
        (
            Budgets(max_overrides=2001),
            "budgets.max_overrides must be at most 2000: a decision must fit into one Kafka record",
        ),
        (Budgets(max_new_per_cycle=-1), "budgets.max_overrides and max_new_per_cycle must not be negative"),
        (Budgets(max_moved_share=-0.1), "budgets.max_moved_share must lie between 0 and 1"),
        (Budgets(max_moved_share=nan), "budgets.max_moved_share must lie between 0 and 1"),
        (Budgets(max_moved_share=30), "budgets.max_moved_share must lie between 0 and 1"),
        (Budgets(min_prefix_length4=25), "budgets: IPv4 prefix lengths must be in order and within 0 to 32"),
        (Budgets(max_prefix_length6=129), "budgets: IPv6 prefix lengths must be in order and within 0 to 128"),
    ],
)
def test_budgets_that_make_no_sense(budgets: Budgets, problem: str) -> None:
    assert check_pop(msgspec.structs.replace(demo_pop(), budgets=budgets)) == [problem]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("cost = 0.1", "cost = -0.1", "link et-0/0/2 of r1: cost must not be negative"),
        ("cost = 0.1", "cost = nan", "link et-0/0/2 of r1: cost must not be negative"),
        ("capacity_bps = 10e9", "capacity_bps = nan", "link xe-0/0/1 of r2: capacity_bps must be above 0"),
        ("asn = 64601,", "asn = 64601, cap_bps = -1.0,", "session 127.0.0.31 of r1: cap_bps must not be negative"),
        ('bmp_sysname = "r1"', 'bmp_sysname = "r1"\nmaximum_prefix = 0', "router r1: maximum_prefix must be above 0"),
        ('bmp_sysname = "r1"', 'bmp_sysname = "r1"\nbmp_silence_s = 5', "router r1: bmp_silence_s must be 10 to 600"),
        ('bmp_sysname = "r1"', 'bmp_sysname = "r1"\nbmp_silence_s = nan', "router r1: bmp_silence_s must be 10 to 600"),
        ('bmp_address = "127.0.0.1"', 'bmp_address = "r1"', "router r1: 'r1' is not an IP address"),
    ],
)
def test_numbers_that_make_no_sense(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert problems_of(write(tmp_path, (old, new))) == [f"pop.toml: {problem}"]


def test_who_may_speak_for_a_router_is_checked(tmp_path: Path) -> None:
    first = ('agent_sources = ["127.0.0.1"]', 'agent_sources = ["127.0.0.1", "proxy"]\nsampling_rates = [0, 32768, -5]')
    assert problems_of(write(tmp_path, first)) == [
        "pop.toml: router r1: 'proxy' is not an IP address",
        "pop.toml: router r1: sampling_rates must be 1 to 4294967295, not 0, -5",
    ]


def named(old: str, new: str) -> list[tuple[str, str]]:
    names = 'interfaces = { "et-0/0/1" = 101, "et-0/0/7" = 907, "in" = 1, "core" = 2 }'
    return [('bmp_sysname = "r1"', f'bmp_sysname = "r1"\n{names}'), (old, new)]


def test_interfaces_may_be_given_by_name(tmp_path: Path) -> None:
    by_name = 'ifindexes = ["et-0/0/1"]\nmembers = ["et-0/0/7", 908]\ncapacity_bps = "auto"'
    changes = [
        *named("ifindexes = [101]\ncapacity_bps = 100e9", by_name),
        ("internal_ifindexes = [1]\ncore = { r2 = 2 }", 'internal_ifindexes = ["in"]\ncore = { r2 = "core" }'),
    ]
    pop = load_pop(write(tmp_path, *changes))
    link = pop.links["rhv1000/r1/et-0/0/1"]
    assert (link.ifindexes, link.members, link.ports) == ((101,), (907, 908), (101, 907, 908))
    assert (link.capacity_bps, link.configured_bps) == ("auto", None)
    assert (pop.routers["r1"].internal_ifindexes, pop.routers["r1"].core) == ((1,), {"r2": 2})
    assert pop.link_by_interface["r1", 907] == "rhv1000/r1/et-0/0/1"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "ifindexes = [101]\ncapacity_bps = 100e9",
            'ifindexes = ["et-0/0/2"]\ncapacity_bps = 100e9',
            "pop.toml.link[0].ifindexes[0]: interfaces of router r1 have no 'et-0/0/2'; "
            "known: et-0/0/1, et-0/0/7, in, core",
        ),
        (
            "ifindexes = [101]\ncapacity_bps = 10e9",
            'ifindexes = ["xe-0/0/1"]\ncapacity_bps = 10e9',
            "pop.toml.link[3].ifindexes[0]: interfaces of router r2 have no 'xe-0/0/1'; known: none",
        ),
        (
            "ifindexes = [101]\ncapacity_bps = 100e9",
            "ifindexes = [101]\nmembers = [102]\ncapacity_bps = 100e9",
            "pop.toml: interface r1/102 is given twice",
        ),
        (
            "ifindexes = [101]\ncapacity_bps = 100e9",
            'ifindexes = [101]\ncapacity_bps = "much"',
            "pop.toml.link[0].capacity_bps: 'much' is neither a number nor auto",
        ),
    ],
)  # fmt: skip
def test_names_that_no_router_has(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert problems_of(write(tmp_path, *named(old, new))) == [problem]
