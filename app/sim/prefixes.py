"""Destination prefixes of the simulated PoP, and the hosts in them that traffic goes to."""

import ipaddress
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec
import numpy as np

LENGTHS: Final = (20, 21, 22, 23, 24)
LENGTH_SHARE: Final = (0.10, 0.10, 0.20, 0.15, 0.45)
BLOCK_BYTES: Final = 2**12  # every prefix lies in a /20 of its own, so that only the pairs made on purpose overlap
HOSTS_PER_PREFIX: Final = 16
# First octets with private, shared, loopback, link-local, benchmark or documentation space in them.
RESERVED_OCTETS: Final = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203})


class PrefixSet(msgspec.Struct, frozen=True):
    """Prefixes in a fixed order. `covering[i]` is the index of the one that contains prefix i, or None;
    `hosts[i]` are addresses whose longest match is prefix i."""

    prefixes: tuple[str, ...]
    covering: tuple[int | None, ...]
    hosts: tuple[tuple[str, ...], ...]

    @property
    def match_orders(self) -> list[tuple[str, ...]]:
        """For each prefix: itself, then the one that covers it."""
        return [
            (prefix,) if outer is None else (prefix, self.prefixes[outer])
            for prefix, outer in zip(self.prefixes, self.covering, strict=True)
        ]


def draw_prefixes(rng: np.random.Generator, count: int, pairs: int) -> PrefixSet:
    """`count` distinct public IPv4 prefixes of which `pairs` are a /24 inside another one."""
    assert 0 <= 2 * pairs <= count, "a pair is two of the prefixes"
    blocks = _draw_blocks(rng, count - pairs)
    networks = [_network(rng, block, _length(rng, covering=i < pairs)) for i, block in enumerate(blocks)]
    inside = [_network(rng, int(outer.network_address), 24, within=outer) for outer in networks[:pairs]]
    hosts = [_hosts(rng, outer, hole) for outer, hole in zip(networks[:pairs], inside, strict=True)]
    hosts += [_hosts(rng, network, None) for network in (*networks[pairs:], *inside)]
    covering = (None,) * len(networks) + tuple(range(pairs))
    return PrefixSet(tuple(str(network) for network in (*networks, *inside)), covering, tuple(hosts))


def _draw_blocks(rng: np.random.Generator, count: int) -> Sequence[int]:
    octets = np.array([octet for octet in range(1, 224) if octet not in RESERVED_OCTETS])
    numbers = rng.choice(len(octets) * BLOCK_BYTES, size=count, replace=False)
    return [(int(octets[number // BLOCK_BYTES]) << 24) + (int(number) % BLOCK_BYTES << 12) for number in numbers]


def _length(rng: np.random.Generator, covering: bool) -> int:
    return int(rng.integers(20, 23)) if covering else int(rng.choice(LENGTHS, p=LENGTH_SHARE))


def _network(
    rng: np.random.Generator, block: int, length: int, within: ipaddress.IPv4Network | None = None
) -> ipaddress.IPv4Network:
    """A prefix of that length somewhere in a /20, or in the network given."""
    outer_length = within.prefixlen if within else 20
    place = int(rng.integers(2 ** (length - outer_length)))
    return ipaddress.IPv4Network((block + (place << (32 - length)), length))


def _hosts(
    rng: np.random.Generator, network: ipaddress.IPv4Network, hole: ipaddress.IPv4Network | None
) -> tuple[str, ...]:
    offsets = 1 + rng.permutation(network.num_addresses - 2)
    addresses = (network[int(offset)] for offset in offsets)
    usable = (str(address) for address in addresses if hole is None or address not in hole)
    return tuple(islice(usable, HOSTS_PER_PREFIX))
