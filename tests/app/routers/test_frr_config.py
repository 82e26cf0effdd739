"""FRR's configuration as `show running-config` prints it: what is read, and what is not taken for more than it is."""

import pytest

from app.routers.frr_config import ADVICE, read_frr
from app.routers.judge import router_problems
from app.routers.statements import Route, accepting
from tests.pops import demo_pop

MARKER = "64512:911"
POLICIES = """
frr version 8.4.4
frr defaults traditional
!
ip prefix-list OWN4 seq 5 permit 198.18.0.0/16
ipv6 prefix-list OWN6 seq 5 permit 2001:db8:1000::/40
!
bgp community-list standard OURS seq 5 permit 64512:911
!
route-map FROM-AUTOPILOT permit 10
 match community OURS
 match local-preference 1000
exit
!
route-map OUT deny 10
 match community OURS
exit
!
route-map OUT permit 20
 match ip address prefix-list OWN4
exit
!
route-map OUT permit 30
 match ipv6 address prefix-list OWN6
exit
!
"""
SESSIONS = """
router bgp 64512
 neighbor PEERS peer-group
 neighbor 127.0.0.21 remote-as internal
 neighbor 127.0.0.31 remote-as 64601
 neighbor 127.0.0.31 peer-group PEERS
 neighbor 127.0.0.32 remote-as 64602
 neighbor 127.0.0.32 peer-group PEERS
 neighbor 127.0.0.33 remote-as 64603
 neighbor 127.0.0.33 peer-group PEERS
 neighbor 127.0.0.12 remote-as 64512
 !
 address-family ipv4 unicast
  neighbor PEERS route-map OUT out
  neighbor 127.0.0.21 addpath-tx-all-paths
  neighbor 127.0.0.21 maximum-prefix 300 restart 1
  neighbor 127.0.0.21 route-map FROM-AUTOPILOT in
 exit-address-family
 !
 address-family ipv6 unicast
  neighbor PEERS activate
  neighbor PEERS route-map OUT out
  neighbor 127.0.0.21 activate
  neighbor 127.0.0.21 addpath-tx-all-paths
  neighbor 127.0.0.21 maximum-prefix 300 restart 1
  neighbor 127.0.0.21 route-map FROM-AUTOPILOT in
 exit-address-family
exit
!
"""


def problems(*changes: tuple[str, str]) -> list[str]:
    """What is missing in the configuration above, with these changes."""
    text = POLICIES + SESSIONS
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    pop = demo_pop()
    return [*router_problems(pop, pop.router[0], read_frr(text, MARKER), ADVICE)]


def test_names_and_peer_groups_of_an_operator() -> None:
    assert problems() == []


def test_a_neighbour_of_a_group_may_have_a_policy_of_its_own() -> None:
    own = "  neighbor 127.0.0.32 route-map WIDE out\n"
    wide = "route-map WIDE permit 10\nexit\n"
    said = problems(("  neighbor PEERS route-map OUT out\n", f"  neighbor PEERS route-map OUT out\n{own}"))
    assert any(text.startswith("uses route-map WIDE, which is not there") for text in said)
    said = problems(
        ("  neighbor PEERS route-map OUT out\n", f"  neighbor PEERS route-map OUT out\n{own}"),
        ("route-map OUT deny 10", f"{wide}route-map OUT deny 10"),
    )
    assert len([text for text in said if "127.0.0.32" in text]) == len(said) == 4


def test_every_external_neighbour_counts_also_those_that_the_inventory_does_not_know() -> None:
    more = " neighbor 192.0.2.77 remote-as 65001\n"
    (said,) = problems((" neighbor PEERS peer-group\n", f" neighbor PEERS peer-group\n{more}"))
    assert said.startswith("has no export policy to its eBGP neighbour 192.0.2.77 (IPv4)")
    dynamic = " bgp listen range 192.0.2.0/24 peer-group CUSTOMERS\n neighbor CUSTOMERS peer-group\n"
    (said,) = problems((" neighbor PEERS peer-group\n", f"{dynamic} neighbor PEERS peer-group\n"))
    assert said.startswith("has no export policy to its eBGP neighbour CUSTOMERS (IPv4)")
    interface = " neighbor swp1 interface remote-as external\n"
    (said,) = problems((" neighbor PEERS peer-group\n", f" neighbor PEERS peer-group\n{interface}"))
    assert said.startswith("has no export policy to its eBGP neighbour swp1 (IPv4)")


def test_a_family_that_is_not_active_carries_nothing() -> None:
    off = " no bgp default ipv4-unicast\n neighbor PEERS peer-group\n"
    said = problems((" neighbor PEERS peer-group\n", off))
    assert said == [
        "its session with the injector 127.0.0.21 carries no IPv4: add `neighbor 127.0.0.21 activate` in"
        " `address-family ipv4 unicast`"
    ]


def test_a_prefix_list_on_the_session_is_an_allow_list_but_denies_no_marker() -> None:
    said = problems(("  neighbor PEERS route-map OUT out\n", "  neighbor PEERS prefix-list OWN4 out\n"))
    of_first = [text for text in said if "127.0.0.31 (IPv4)" in text]
    assert len(of_first) == 1
    assert of_first[0].startswith("prefix-list OWN4 passes our overrides on to its eBGP neighbour 127.0.0.31 (IPv4)")


@pytest.mark.parametrize(
    ("community_list", "is_well"),
    [
        ("bgp community-list standard OURS seq 5 permit 64512:911", True),
        ("bgp community-list OURS permit 64512:911", True),
        ("bgp community-list expanded OURS seq 5 permit 64512:911", True),
        ("bgp community-list expanded OURS seq 5 permit _64512:911_", True),
        # FRR compares with all communities of a route in one text, and our routes have NO_EXPORT as well.
        ("bgp community-list expanded OURS seq 5 permit ^64512:911$", False),
        ("bgp community-list standard OURS seq 5 permit 64512:912", False),
        ("bgp community-list standard OURS seq 5 permit 64512:911 64512:912", False),
        ("bgp community-list standard OTHERS seq 5 permit 64512:911", False),
        (
            "bgp community-list standard OURS seq 5 deny 64512:911\n"
            "bgp community-list standard OURS seq 10 permit 64512:911",
            False,
        ),
    ],
)
def test_the_deny_of_the_marker_must_match_every_route_that_has_it(community_list: str, is_well: bool) -> None:
    said = problems(("bgp community-list standard OURS seq 5 permit 64512:911", community_list))
    assert any("passes our overrides on" in text for text in said) is not is_well


@pytest.mark.parametrize(
    "more", [" match as-path OURS", " call OTHER", " match large-community X", " match ip next-hop prefix-list HOPS"]
)
def test_a_deny_with_more_conditions_protects_from_nothing(more: str) -> None:
    said = problems(("route-map OUT deny 10\n", f"route-map OUT deny 10\n{more}\n"))
    assert any("passes our overrides on" in text for text in said)


def test_a_community_list_with_another_community_takes_unmarked_routes() -> None:
    other = "bgp community-list standard OURS seq 5 permit 64512:911\nbgp community-list standard OURS permit 64512:1"
    said = problems(("bgp community-list standard OURS seq 5 permit 64512:911", other))
    assert any("takes routes without our marker from its injector" in text for text in said)
    assert not any("passes our overrides on" in text for text in said)


def test_an_empty_prefix_list_lets_everything_pass() -> None:
    """FRR: a prefix list without entries permits all; only one that does not exist matches nothing."""
    described = "ip prefix-list OWN4 description to be filled in"
    said = problems(("ip prefix-list OWN4 seq 5 permit 198.18.0.0/16", described))
    assert any("permit 20 passes 0.0.0.0/0 on to its eBGP neighbour 127.0.0.31 (IPv4)" in text for text in said)


def test_more_specifics_of_own_prefixes_may_leave() -> None:
    assert problems(("permit 198.18.0.0/16", "permit 198.18.64.0/18 le 24")) == []


def test_what_is_no_configuration_of_frr() -> None:
    with pytest.raises(ValueError, match="has no `router bgp`"):
        read_frr("hostname r1\nrouter bgp 64512 vrf red\n neighbor 192.0.2.1 remote-as 1\n", MARKER)


def test_routes_that_end_at_a_refusal_are_not_asked_on() -> None:
    policy = read_frr(POLICIES + SESSIONS, MARKER).sessions["127.0.0.31"].families[4].exports
    assert [each.where for each in accepting(policy, Route(4, marked=False))] == ["route-map OUT permit 20"]
    assert [*accepting(policy, Route(4, marked=True))] == []
