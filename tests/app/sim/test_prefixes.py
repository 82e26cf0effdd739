"""The drawn prefixes: public, of the mix asked for, and overlapping only where meant."""

import ipaddress
from collections import Counter

import numpy as np

from app.sim.prefixes import HOSTS_PER_PREFIX, PrefixSet, draw_prefixes


def draw(seed: int = 1) -> PrefixSet:
    return draw_prefixes(np.random.default_rng(seed), 500, 20)


def test_prefixes_are_distinct_public_and_between_20_and_24() -> None:
    networks = [ipaddress.IPv4Network(prefix) for prefix in draw().prefixes]
    lengths = Counter(network.prefixlen for network in networks)
    assert len(set(networks)) == 500
    assert all(network.is_global and not network.is_multicast for network in networks)
    assert set(lengths) == {20, 21, 22, 23, 24}
    assert lengths[24] > 150


def test_only_the_pairs_overlap_and_each_is_told() -> None:
    drawn = draw()
    networks = [ipaddress.IPv4Network(prefix) for prefix in drawn.prefixes]
    overlaps = {
        (inner, outer)
        for inner, network in enumerate(networks)
        for outer, other in enumerate(networks)
        if inner != outer and network.subnet_of(other)
    }
    assert overlaps == {(inner, outer) for inner, outer in enumerate(drawn.covering) if outer is not None}
    assert len(overlaps) == 20


def test_hosts_have_their_prefix_as_longest_match() -> None:
    drawn = draw()
    networks = [ipaddress.IPv4Network(prefix) for prefix in drawn.prefixes]
    for index, hosts in enumerate(drawn.hosts):
        assert len(hosts) == HOSTS_PER_PREFIX
        for host in map(ipaddress.IPv4Address, hosts[:4]):
            matches = [i for i, network in enumerate(networks) if host in network]
            assert max(matches, key=lambda i: networks[i].prefixlen) == index


def test_a_seed_gives_the_same_prefixes_again() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
