"""Post-policy Adj-RIB-In of the routers of one PoP, as BMP tells it; sessions and paths, nothing chosen here."""

from collections.abc import Collection, Mapping

from app.te.model import Path

PeerKey = tuple[str, int]  # (peer address, path id)


class Rib:
    """Paths by (router, prefix, peer). `version` grows with every change, so that readers know when to recompute."""

    def __init__(self) -> None:
        self._paths: dict[str, dict[str, dict[PeerKey, Path]]] = {}
        self._up: dict[tuple[str, str], int] = {}
        self.version = 0

    def clear(self) -> None:
        """Forget everything; readers keep their reference."""
        self._paths.clear()
        self._up.clear()
        self.version += 1

    def update(self, router: str, prefix: str, path: Path) -> None:
        """Store or replace the path of its peer."""
        self._paths.setdefault(router, {}).setdefault(prefix, {})[path.peer, path.path_id] = path
        self.version += 1

    def withdraw(self, router: str, prefix: str, peer: str, path_id: int = 0) -> bool:
        """Remove one path; False if it was not there."""
        by_peer = self._paths.get(router, {}).get(prefix, {})
        if by_peer.pop((peer, path_id), None) is None:
            return False
        if not by_peer:
            del self._paths[router][prefix]
        self.version += 1
        return True

    def peer_up(self, router: str, peer: str, asn: int) -> None:
        """The session is established."""
        self._up[router, peer] = asn
        self.version += 1

    def peer_down(self, router: str, peer: str) -> list[str]:
        """The session is gone, and every path of it; the prefixes that lost a path."""
        self._up.pop((router, peer), None)
        lost = self.keys_of(router, peer)
        for prefix, key in lost:
            self.withdraw(router, prefix, *key)
        self.version += 1
        return [prefix for prefix, _ in lost]

    def keys_of(self, router: str, peer: str) -> set[tuple[str, PeerKey]]:
        """(prefix, key) of every path of one peer."""
        return {
            (prefix, key) for prefix, paths in self._paths.get(router, {}).items() for key in paths if key[0] == peer
        }

    def peer_asn(self, router: str, peer: str) -> int | None:
        """The peer's AS, None while its session is down or was never seen up."""
        return self._up.get((router, peer))

    def paths(self, router: str, prefix: str) -> Mapping[PeerKey, Path]:
        """All paths of one router for exactly this prefix."""
        return self._paths.get(router, {}).get(prefix, {})

    def prefixes(self, router: str) -> Collection[str]:
        """Every prefix that the router holds a path for."""
        return self._paths.get(router, {}).keys()

    def peers(self, router: str) -> list[str]:
        """Peers of the router whose sessions are up."""
        return [peer for (name, peer) in self._up if name == router]
