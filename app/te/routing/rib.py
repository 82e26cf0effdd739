"""Post-policy Adj-RIB-In of the routers of one PoP, as BMP reports it: sessions and paths, no best-path selection.

Built for full tables: each prefix is stored once for all routers, and equal path sets share one object. About ten
prefixes share an origin, and so have the same paths from every peer.
"""

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping

from app.te.routing.interning import Interner, PathSet
from app.te.routing.path import Path

PeerKey = tuple[str, int]  # (peer address, path id)
BUCKETS = 4096
TURNED_MIN = 10_000
_NOTHING: Mapping[str, PathSet] = {}


def bucket_of(prefix: str) -> int:
    """The bucket of a prefix."""
    return crc_of(prefix) % BUCKETS


def crc_of(prefix: str) -> int:
    """What says in which row a prefix is. Must be the same in every process and release."""
    return zlib.crc32(prefix.encode())


class Prefixes(Collection[str]):
    """The prefixes that one router holds a path for: a live view of the Rib. Iterating reads the whole table."""

    def __init__(self, rib: "Rib", router: str) -> None:
        self._rib = rib
        self._router = router

    def __len__(self) -> int:
        return self._rib.count(self._router)

    def __iter__(self) -> Iterator[str]:
        return (prefix for prefix, path_set in self._rib.items() if _at(self._router, path_set))

    def __contains__(self, prefix: object) -> bool:
        return isinstance(prefix, str) and _at(self._router, self._rib.path_set(prefix))


class Rib:
    """Paths by (router, prefix, peer). `version` grows with every change, so that readers know when to recompute.

    `sessions` grows whenever a BGP session comes up or goes down.
    `turned` lists the prefixes that appeared or disappeared since `epoch` last changed, once for each time. It is
    bounded: when it is full, a new epoch begins, and readers have to look at all prefixes again.
    """

    def __init__(self) -> None:
        self.version = self.epoch = self.sessions = 0
        self.turned: list[str] = []
        self._up: dict[tuple[str, str], int] = {}
        self._empty()

    def _empty(self) -> None:
        self._buckets: dict[int, dict[str, PathSet]] = {}  # empty buckets are removed
        self._counts: dict[str, int] = {}
        self._size = 0
        self._interner = Interner()
        self._new_epoch()

    def clear(self) -> None:
        """Forget all paths and sessions. The object stays the same, so readers can keep their reference to it."""
        self._empty()
        self._up.clear()
        self.sessions += 1

    def update(self, router: str, prefix: str, path: Path) -> None:
        """Store a path of a router, replacing the one of the same peer and path id."""
        before = self.path_set(prefix)
        peer, path_id = path.peer, path.path_id
        place = next((i for i, entry in enumerate(before) if _is(entry, router, peer, path_id)), len(before))
        self._put(prefix, before, (*before[:place], (router, path), *before[place + 1 :]))

    def restore(self, number: int, prefixes: Mapping[str, PathSet]) -> None:
        """Fill bucket `number`, which must be empty, with path sets that `share` returned. Begins a new epoch."""
        assert number not in self._buckets, f"bucket {number} is not empty"
        if prefixes:
            self._buckets[number] = dict(prefixes)
        self._size += len(prefixes)
        for path_set in prefixes.values():
            self._count(path_set, 1)
        self._new_epoch()

    def share(self, path_set: PathSet) -> PathSet:
        """The object that this Rib uses for all path sets equal to this one."""
        return self._interner.intern(path_set)

    def withdraw(self, router: str, prefix: str, peer: str, path_id: int = 0) -> bool:
        """Remove one path; False if it was not there."""
        before = self.path_set(prefix)
        after = tuple([entry for entry in before if not _is(entry, router, peer, path_id)])
        if len(after) == len(before):
            return False
        self._put(prefix, before, after)
        return True

    def peer_up(self, router: str, peer: str, asn: int) -> None:
        """Record that the session of `router` with `peer` of AS `asn` is established."""
        self._up[router, peer] = asn
        self.version += 1
        self.sessions += 1

    def peer_down(self, router: str, peer: str, stays: Callable[[str], bool] | None = None) -> list[str]:
        """Remove the session and its paths, but for prefixes that stay; return the prefixes that lost a path."""
        self._up.pop((router, peer), None)
        self.version += 1
        self.sessions += 1
        # Few path sets are distinct. The values keep them alive, so that no other object can get their id meanwhile.
        remaining: dict[int, tuple[PathSet, PathSet]] = {}
        lost = []
        for number, bucket in list(self._buckets.items()):
            for prefix, before in list(bucket.items()):
                if (known := remaining.get(id(before))) is None:
                    after = tuple([entry for entry in before if entry[0] != router or entry[1].peer != peer])
                    known = remaining[id(before)] = before, self._interner.intern(after)
                if known[1] is not before and (stays is None or not stays(prefix)):
                    self._place(number, prefix, before, known[1])
                    lost.append(prefix)
        return lost

    def by_peer(self, router: str) -> dict[PeerKey, set[str]]:
        """The prefixes that a router holds from each of its peers, by (peer address, path id)."""
        prefixes: dict[PeerKey, set[str]] = {}
        for prefix, path_set in self.items():
            for name, path in path_set:
                if name == router:
                    prefixes.setdefault((path.peer, path.path_id), set()).add(prefix)
        return prefixes

    def peer_asn(self, router: str, peer: str) -> int | None:
        """The AS number of a router's peer; None while the session is down or was never seen up."""
        return self._up.get((router, peer))

    def path_set(self, prefix: str) -> PathSet:
        """All paths of all routers for exactly this prefix, as (router, path) pairs."""
        return self.bucket(bucket_of(prefix)).get(prefix, ())

    def paths(self, router: str, prefix: str) -> Mapping[PeerKey, Path]:
        """All paths of one router for exactly this prefix, by (peer address, path id)."""
        return {(path.peer, path.path_id): path for name, path in self.path_set(prefix) if name == router}

    def sweep(self) -> None:
        """Forget shared paths that no prefix uses any more, if there are many; takes about 0.2 s at full table."""
        self._interner.sweep(path_set for _, path_set in self.items())

    def holds(self, prefix: str) -> bool:
        """Whether any router holds a path for exactly this prefix."""
        return prefix in self.bucket(bucket_of(prefix))

    def bucket(self, number: int) -> Mapping[str, PathSet]:
        """The prefixes of one bucket with their path sets."""
        return self._buckets.get(number, _NOTHING)

    def all_prefixes(self) -> Iterator[str]:
        """Every prefix that any router holds a path for."""
        return (prefix for prefix, _ in self.items())

    def items(self) -> Iterator[tuple[str, PathSet]]:
        """Every prefix with its path set."""
        return (item for bucket in self._buckets.values() for item in bucket.items())

    def prefixes(self, router: str) -> Collection[str]:
        """The prefixes that a router holds a path for."""
        return Prefixes(self, router)

    def routers(self) -> set[str]:
        """The routers that hold any path."""
        return {router for router, count in self._counts.items() if count}

    def count(self, router: str) -> int:
        """The number of prefixes that a router holds a path for."""
        return self._counts.get(router, 0)

    def peers(self, router: str) -> list[str]:
        """The peers of a router whose sessions are up."""
        return [peer for (name, peer) in self._up if name == router]

    def _put(self, prefix: str, before: PathSet, after: PathSet) -> None:
        """Replace the path set of a prefix."""
        self._place(bucket_of(prefix), prefix, before, self._interner.intern(after))

    def _place(self, number: int, prefix: str, before: PathSet, after: PathSet) -> None:
        bucket = self._buckets.setdefault(number, {})
        if after:
            bucket[prefix] = after
        else:
            bucket.pop(prefix, None)
            if not bucket:
                del self._buckets[number]
        if len(after) != len(before):
            self._count(before, -1)
            self._count(after, 1)
            if not (before and after):
                self._size += 1 if after else -1
                self._turn(prefix)
        self.version += 1

    def _count(self, path_set: PathSet, change: int) -> None:
        """Add `change` (1 or -1) to the prefix count of each router in this path set."""
        for router in {name for name, _ in path_set}:
            self._counts[router] = self._counts.get(router, 0) + change

    def _turn(self, prefix: str) -> None:
        """Note that a prefix appeared or disappeared."""
        self.turned.append(prefix)
        if len(self.turned) > max(TURNED_MIN, self._size // 8):
            self._new_epoch()

    def _new_epoch(self) -> None:
        self.turned = []
        self.epoch += 1
        self.version += 1


def _at(router: str, path_set: PathSet) -> bool:
    return any(name == router for name, _ in path_set)


def _is(entry: tuple[str, Path], router: str, peer: str, path_id: int) -> bool:
    name, path = entry
    return path.peer == peer and name == router and path.path_id == path_id
