"""The routers' configurations, rendered from the inventory: one source, two daemons' words."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.config.inventory import Pop, load_pop
from app.lab.daemons import frr, gobgp
from app.lab.daemons.machine import Site
from app.lab.daemons.ports import StackPorts

INVENTORY = Path(__file__).parents[4] / "deploy" / "local" / "rhv1000.toml"
SITE = Site(Path("/run/x"), StackPorts(kafka=1, controller=2, sflow=3, bmp=4, bgp=1790), None)


def pop_without(kind: str = "", own: tuple[str, ...] = ("198.18.0.0/16",)) -> Pop:
    pop = load_pop(INVENTORY)
    links = tuple(link for link in pop.link if link.kind != kind)
    return msgspec.structs.replace(pop, link=links, own_prefixes=own)


def gobgp_config(pop: Pop, export_policy: bool = True) -> dict[str, Any]:
    r1, r2 = pop.router
    return tomllib.loads(gobgp.edge_config(SITE, pop, r1, r2, export_policy))


def frr_config(pop: Pop) -> list[str]:
    r1, r2 = pop.router
    return frr.edge_config(SITE, pop, r2, r1).splitlines()


@pytest.mark.parametrize(("kind", "left"), [("", {100, 200, 300}), ("pni", {100, 200}), ("transit", {200, 300})])
def test_no_neighbour_set_of_gobgpd_is_empty(kind: str, left: set[int]) -> None:
    """An empty one matches every neighbour: a local-pref or an export for all."""
    config = gobgp_config(pop_without(kind))
    sets = {
        entry["neighbor-set-name"]: entry["neighbor-info-list"] for entry in config["defined-sets"]["neighbor-sets"]
    }
    assert all(sets.values())
    assert set(sets) == {"ebgp", "edge", "injector", *(f"local-pref-{value}" for value in left)}


def test_both_take_the_local_pref_of_the_inventory() -> None:
    pop = load_pop(INVENTORY)
    odd = msgspec.structs.replace(pop, link=tuple(msgspec.structs.replace(link, local_pref=217) for link in pop.link))
    config = gobgp_config(odd)
    actions = {policy["name"]: policy["statements"][0]["actions"] for policy in config["policy-definitions"]}
    assert actions["import-217"]["bgp-actions"]["set-local-pref"] == 217
    assert "route-map FROM-EBGP-217 permit 20" in frr_config(odd)
    assert "  neighbor 127.0.0.34 route-map FROM-EBGP-217 in" in frr_config(odd)


def test_gobgpd_exports_to_ebgp_only_by_the_allow_list() -> None:
    config = gobgp_config(pop_without())
    applied = config["global"]["apply-policy"]["config"]
    assert applied["default-export-policy"] == "reject-route"
    assert applied["export-policy-list"] == ["export-own-ipv4", "export-edges"]
    (own,) = config["defined-sets"]["prefix-sets"]
    assert own["prefix-list"] == [{"ip-prefix": "198.18.0.0/16", "masklength-range": "16..16"}]


def test_the_guard_of_gobgpd_can_be_taken_out() -> None:
    applied = gobgp_config(pop_without(), export_policy=False)["global"]["apply-policy"]["config"]
    assert applied["export-policy-list"] == ["export-all", "export-edges"]


def test_own_prefixes_of_both_families_have_lists_of_their_own() -> None:
    pop = pop_without(own=("198.18.0.0/16", "2001:db8:4000::/36"))
    applied = gobgp_config(pop)["global"]["apply-policy"]["config"]
    assert applied["export-policy-list"] == ["export-own-ipv4", "export-own-ipv6", "export-edges"]
    lines = frr_config(pop)
    assert "ipv6 prefix-list own6 permit 2001:db8:4000::/36" in lines
    assert "  network 2001:db8:4000::/36" in lines


def test_every_neighbour_of_gobgpd_is_passive_and_the_injector_limited() -> None:
    pop = pop_without()
    neighbours = {entry["config"]["neighbor-address"]: entry for entry in gobgp_config(pop)["neighbors"]}
    assert set(neighbours) == {"127.0.0.31", "127.0.0.32", "127.0.0.33", "127.0.0.12", "127.0.0.21"}
    assert all(entry["transport"]["config"]["passive-mode"] for entry in neighbours.values())
    limits = {
        peer: {f["prefix-limit"]["config"]["max-prefixes"] for f in n["afi-safis"]} for peer, n in neighbours.items()
    }
    assert limits.pop("127.0.0.21") == {pop.routers["r1"].maximum_prefix}
    assert set.union(*limits.values()) == {0}


def test_every_neighbour_of_frr_has_both_policies_and_the_injector_a_limit() -> None:
    lines = frr_config(pop_without())
    peers = {line.split()[1] for line in lines if "remote-as" in line}
    assert peers == {"127.0.0.34", "127.0.0.35", "127.0.0.36", "127.0.0.11", "127.0.0.22"}
    for peer in peers:
        policies = [line.split()[-1] for line in lines if f"neighbor {peer} route-map" in line]
        assert policies == ["in", "out"] * 2, f"{peer} in both families"
    limited = {line.strip() for line in lines if "maximum-prefix" in line}
    assert limited == {"neighbor 127.0.0.22 maximum-prefix 300 restart 1"}
    assert " neighbor 127.0.0.11 passive" not in lines, "somebody must begin, and gobgpd does not"
    assert " neighbor 127.0.0.22 passive" in lines


def test_a_link_with_two_sessions_gets_two_neighbours() -> None:
    pop = load_pop(INVENTORY)
    first, *rest = pop.link
    twin = msgspec.structs.replace(first.sessions[0], peer="127.0.0.41")
    double = msgspec.structs.replace(first, sessions=(*first.sessions, twin))
    config = gobgp_config(msgspec.structs.replace(pop, link=(double, *rest)))
    sets = {
        entry["neighbor-set-name"]: entry["neighbor-info-list"] for entry in config["defined-sets"]["neighbor-sets"]
    }
    assert sets["local-pref-300"] == ["127.0.0.31", "127.0.0.41"]
