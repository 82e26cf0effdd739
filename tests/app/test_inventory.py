"""Inventories: what is derived from them, and every mistake listed at once."""

from pathlib import Path

import msgspec
import pytest

from app.errors import ConfigError
from app.inventory import check_pop, load_pop
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
        "pop.toml.colour: unknown key; known: name, asn, own_prefixes, router, link, marker, override_local_pref,"
        " budgets, pinned_prefixes",
        "pop.toml.asn: expected `int`, got `str`",
        "pop.toml.link[0].capacity_bps: missing",
        "pop.toml.link[0].kind: invalid enum value 'peering'",
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
        "router r1: r7 is no other router",
        "'198.18.0.1/16' is not a network",
        "capacity_bps must be above 0",
    ):
        assert mistake in problems


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
