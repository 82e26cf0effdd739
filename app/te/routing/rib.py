"""Post-policy Adj-RIB-In of the routers of one PoP, as BMP tells it; sessions and paths, nothing chosen here.

Made for full tables: a prefix is kept once for all routers, and what is equal is one object. Some ten prefixes have the
same origin, and so the same paths by every peer.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping

from app.te.routing.interning import Interner, PathSet
from app.te.routing.path import Path

PeerKey = tuple[str, int]  # (peer address, path id)
BUCKETS = 4096
TURNED_MIN = 10_000
_NOTHING: Mapping[str, PathSet] = {}


def bucket_of(prefix: str) -> int:
    """The same in every process and release: it is part of a row's key."""
    return zlib.crc32(prefix.encode()) % BUCKETS


class Prefixes(Collection[str]):
    """Every prefix that a router holds a path for."""

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

    `sessions` grows with every change of who is up.
    `turned` are the prefixes that came or went, once for each time, since `epoch` changed last. It is bounded: with a
    new epoch readers look at all prefixes.
    """

    def __init__(self) -> None:
        self.version = self.epoch = self.sessions = 0
        self.turned: list[str] = []
        self._up: dict[tuple[str, str], int] = {}
        self._empty()

    def _empty(self) -> None:
        self._buckets: dict[int, dict[str, PathSet]] = {}  # without the empty ones
        self._counts: dict[str, int] = {}
        self._size = 0
        self._interner = Interner()
        self._new_epoch()

    def clear(self) -> None:
        """Forget everything; readers keep their reference."""
        self._empty()
        self._up.clear()
        self.sessions += 1

    def update(self, router: str, prefix: str, path: Path) -> None:
        """Store or replace the path of its peer."""
        before = self.path_set(prefix)
        peer, path_id = path.peer, path.path_id
        place = next((i for i, one in enumerate(before) if _is(one, router, peer, path_id)), len(before))
        self._put(prefix, before, (*before[:place], (router, path), *before[place + 1 :]))

    def restore(self, number: int, prefixes: Mapping[str, PathSet]) -> None:
        """All of a bucket that is empty, from what `share` gave. Begins a new epoch."""
        assert number not in self._buckets, f"bucket {number} is not empty"
        if prefixes:
            self._buckets[number] = dict(prefixes)
        self._size += len(prefixes)
        for path_set in prefixes.values():
            self._count(path_set, 1)
        self._new_epoch()

    def share(self, path_set: PathSet) -> PathSet:
        """What equals this and is used."""
        return self._interner.intern(path_set)

    def withdraw(self, router: str, prefix: str, peer: str, path_id: int = 0) -> bool:
        """Remove one path; False if it was not there."""
        before = self.path_set(prefix)
        after = tuple([one for one in before if not _is(one, router, peer, path_id)])
        if len(after) == len(before):
            return False
        self._put(prefix, before, after)
        return True

    def peer_up(self, router: str, peer: str, asn: int) -> None:
        """The session is established."""
        self._up[router, peer] = asn
        self.version += 1
        self.sessions += 1

    def peer_down(self, router: str, peer: str) -> list[str]:
        """The session is gone, and every path of it; the prefixes that lost one."""
        self._up.pop((router, peer), None)
        self.version += 1
        self.sessions += 1
        left: dict[
            int, tuple[PathSet, PathSet]
        ] = {}  # few sets of paths are distinct; an id is theirs while they are here
        lost = []
        for number, bucket in list(self._buckets.items()):
            for prefix, before in list(bucket.items()):
                if (known := left.get(id(before))) is None:
                    after = tuple([one for one in before if one[0] != router or one[1].peer != peer])
                    known = left[id(before)] = before, self._interner.intern(after)
                if known[1] is not before:
                    self._place(number, prefix, before, known[1])
                    lost.append(prefix)
        return lost

    def by_peer(self, router: str) -> dict[PeerKey, set[str]]:
        """The prefixes of each peer (and path id) of a router."""
        found: dict[PeerKey, set[str]] = {}
        for prefix, path_set in self.items():
            for name, path in path_set:
                if name == router:
                    found.setdefault((path.peer, path.path_id), set()).add(prefix)
        return found

    def peer_asn(self, router: str, peer: str) -> int | None:
        """The peer's AS, None while its session is down or was never seen up."""
        return self._up.get((router, peer))

    def path_set(self, prefix: str) -> PathSet:
        """All paths of all routers for exactly this prefix."""
        return self.bucket(bucket_of(prefix)).get(prefix, ())

    def paths(self, router: str, prefix: str) -> Mapping[PeerKey, Path]:
        """All paths of one router for exactly this prefix."""
        return {(path.peer, path.path_id): path for name, path in self.path_set(prefix) if name == router}

    def sweep(self) -> None:
        """Forget paths that nothing holds any more, if there are many; some 0.2 s at full table."""
        self._interner.sweep(path_set for _, path_set in self.items())

    def holds(self, prefix: str) -> bool:
        """Whether any router holds a path for exactly this prefix."""
        return prefix in self.bucket(bucket_of(prefix))

    def bucket(self, number: int) -> Mapping[str, PathSet]:
        """The prefixes of a bucket with all that is held for them."""
        return self._buckets.get(number, _NOTHING)

    def all_prefixes(self) -> Iterator[str]:
        """Every prefix that any router holds a path for."""
        return (prefix for prefix, _ in self.items())

    def items(self) -> Iterator[tuple[str, PathSet]]:
        """And all paths of all routers for it."""
        return (item for bucket in self._buckets.values() for item in bucket.items())

    def prefixes(self, router: str) -> Collection[str]:
        """Every prefix that the router holds a path for."""
        return Prefixes(self, router)

    def routers(self) -> set[str]:
        """Routers that hold any path."""
        return {router for router, count in self._counts.items() if count}

    def count(self, router: str) -> int:
        """How many those are."""
        return self._counts.get(router, 0)

    def peers(self, router: str) -> list[str]:
        """Peers of the router whose sessions are up."""
        return [peer for (name, peer) in self._up if name == router]

    def _put(self, prefix: str, before: PathSet, after: PathSet) -> None:
        """What is held of a prefix now."""
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

    def _count(self, path_set: PathSet, one: int) -> None:
        """A prefix more or less for each router of these paths."""
        for router in {name for name, _ in path_set}:
            self._counts[router] = self._counts.get(router, 0) + one

    def _turn(self, prefix: str) -> None:
        """It came or went."""
        self.turned.append(prefix)
        if len(self.turned) > max(TURNED_MIN, self._size // 8):
            self._new_epoch()

    def _new_epoch(self) -> None:
        self.turned = []
        self.epoch += 1
        self.version += 1


def _at(router: str, path_set: PathSet) -> bool:
    return any(name == router for name, _ in path_set)


def _is(one: tuple[str, Path], router: str, peer: str, path_id: int) -> bool:
    name, path = one
    return path.peer == peer and name == router and path.path_id == path_id
