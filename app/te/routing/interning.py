"""One object for all equal values: about ten prefixes share an origin, and so have the same paths from every peer."""

from collections.abc import Iterable

from app.te.routing.path import Path

PathSet = tuple[tuple[str, Path], ...]  # (router, path) of one prefix, in order of arrival
SWEEP_MIN = 10_000


class Interner:
    """Replaces equal paths, (router, path) pairs and path sets by one shared object."""

    def __init__(self) -> None:
        self._paths: dict[Path, Path] = {}
        self._pairs: dict[tuple[str, Path], tuple[str, Path]] = {}
        self._path_sets: dict[PathSet, PathSet] = {}
        self._sweep_at = SWEEP_MIN

    def intern(self, path_set: PathSet) -> PathSet:
        """The shared object that equals `path_set`."""
        if (known := self._path_sets.get(path_set)) is None:
            known = tuple([self._pair(pair) for pair in path_set])
            self._path_sets[known] = known
        return known

    def _pair(self, pair: tuple[str, Path]) -> tuple[str, Path]:
        if (known := self._pairs.get(pair)) is None:
            router, path = pair
            known = router, self._paths.setdefault(path, path)
            self._pairs[known] = known
        return known

    def sweep(self, used: Iterable[PathSet]) -> None:
        """Forget everything that is not in `used`. Does nothing until enough objects have accumulated."""
        if len(self._path_sets) + len(self._pairs) < self._sweep_at:
            return
        distinct = {id(path_set): path_set for path_set in used}.values()
        self._path_sets = {path_set: path_set for path_set in distinct}
        self._pairs = {pair: pair for path_set in distinct for pair in path_set}
        self._paths = {path: path for _, path in self._pairs}
        self._sweep_at = SWEEP_MIN + 2 * (len(self._path_sets) + len(self._pairs))
