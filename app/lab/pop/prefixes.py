"""Draws the destination prefixes of the simulated PoP and the hosts in them that receive traffic."""

import ipaddress
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
import numpy as np

HOSTS_PER_PREFIX: Final = 16
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Family(msgspec.Struct, frozen=True):
    """What the prefixes of one address family look like.

    Every prefix lies in its own block of length `block_length`, so only the pairs made on purpose overlap. Blocks are
    drawn from `tops`, the first `top_length` bits of public address space.
    """

    bits: int
    top_length: int
    tops: tuple[int, ...]
    block_length: int
    lengths: tuple[int, ...]
    length_share: tuple[float, ...]
    covering_lengths: tuple[int, ...]  # of a prefix that covers another
    inside_length: int


# First octets that contain private, shared, loopback, link-local, benchmark or documentation space.
_RESERVED_OCTETS: Final = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203})
IPV4: Final = Family(
    bits=32,
    top_length=8,
    tops=tuple(octet for octet in range(1, 224) if octet not in _RESERVED_OCTETS),
    block_length=20,
    lengths=(20, 21, 22, 23, 24),
    length_share=(0.10, 0.10, 0.20, 0.15, 0.45),
    covering_lengths=(20, 21, 22),
    inside_length=24,
)
IPV6: Final = Family(
    bits=128,
    top_length=12,
    tops=(0x240, 0x260, 0x280, 0x2A0, 0x2C0),  # one /12 for each regional registry
    block_length=28,
    lengths=(29, 36, 40, 44, 48),  # no /32: with one, ExaBGP 4.2 takes the mask of its IPv4 peer for one of 128 bits
    length_share=(0.25, 0.10, 0.10, 0.10, 0.45),
    covering_lengths=(29, 36, 40),
    inside_length=48,
)


class PrefixSet(msgspec.Struct, frozen=True):
    """Prefixes in a fixed order.

    `covering[i]` is the index of the prefix that covers prefix i, or None; `hosts[i]` are addresses whose longest match
    is prefix i.
    """

    prefixes: tuple[str, ...]
    covering: tuple[int | None, ...]
    hosts: tuple[tuple[str, ...], ...]

    @property
    def match_orders(self) -> list[tuple[str, ...]]:
        """For each prefix, the prefix itself and then, if there is one, the prefix that covers it."""
        return [
            (prefix,) if outer is None else (prefix, self.prefixes[outer])
            for prefix, outer in zip(self.prefixes, self.covering, strict=True)
        ]

    def __add__(self, other: "PrefixSet") -> "PrefixSet":
        """A set of these prefixes followed by those of `other`."""
        shifted = (None if outer is None else outer + len(self.prefixes) for outer in other.covering)
        return PrefixSet(self.prefixes + other.prefixes, (*self.covering, *shifted), self.hosts + other.hosts)


def draw_prefixes(rng: np.random.Generator, family: Family, count: int, pairs: int) -> PrefixSet:
    """Draw `count` distinct public prefixes; in `pairs` cases one of length `inside_length` lies inside another."""
    assert 0 <= 2 * pairs <= count, "a pair is two of the prefixes"
    blocks = _draw_blocks(rng, family, count - pairs)
    networks = [
        _network(rng, block, _length(rng, family, covering=index < pairs)) for index, block in enumerate(blocks)
    ]
    inside = [_network(rng, outer, family.inside_length) for outer in networks[:pairs]]
    hosts = [_hosts(rng, outer, hole) for outer, hole in zip(networks[:pairs], inside, strict=True)]
    hosts += [_hosts(rng, network, None) for network in (*networks[pairs:], *inside)]
    covering = (None,) * len(networks) + tuple(range(pairs))
    return PrefixSet(tuple(str(network) for network in (*networks, *inside)), covering, tuple(hosts))


def _draw_blocks(rng: np.random.Generator, family: Family, count: int) -> Iterator[IpNetwork]:
    per_top = 2 ** (family.block_length - family.top_length)
    numbers = rng.choice(len(family.tops) * per_top, size=count, replace=False)
    for top, block in zip(*np.divmod(numbers, per_top), strict=True):
        first = (family.tops[int(top)] * per_top + int(block)) << (family.bits - family.block_length)
        kind = ipaddress.IPv4Network if family.bits == 32 else ipaddress.IPv6Network
        yield kind((first, family.block_length))


def _length(rng: np.random.Generator, family: Family, covering: bool) -> int:
    if covering:
        return int(rng.choice(family.covering_lengths))
    return int(rng.choice(family.lengths, p=family.length_share))


def _network(rng: np.random.Generator, within: IpNetwork, length: int) -> IpNetwork:
    """Draw a prefix of this length within the given network."""
    place = int(rng.integers(2 ** (length - within.prefixlen)))
    return type(within)((int(within.network_address) + (place << (within.max_prefixlen - length)), length))


def _hosts(rng: np.random.Generator, network: IpNetwork, hole: IpNetwork | None) -> tuple[str, ...]:
    """Draw distinct addresses of the network, excluding its first and last address and those in the hole."""
    # Enough remain: a hole is at most a quarter of its network, and the smallest network has 254 addresses to use.
    drawn = rng.integers(1, min(network.num_addresses, 2**62) - 1, size=8 * HOSTS_PER_PREFIX)
    addresses = (network[offset] for offset in dict.fromkeys(drawn.tolist()))
    usable = (str(address) for address in addresses if hole is None or address not in hole)
    return tuple(islice(usable, HOSTS_PER_PREFIX))
