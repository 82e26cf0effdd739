"""Objects with one misspelt key each, at every place where a key has to be known."""

import copy
from collections.abc import Iterator
from typing import Any

# Below these, keys are names that people choose.
FREE = {
    "annotations",
    "config",
    "data",
    "labelSelectors",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
}
FREE_OF_KIND = {"Service": {"selector"}}


def typos(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object with one letter too many in one key, and where; one for each key."""
    free = FREE | FREE_OF_KIND.get(document["kind"], set())
    for path in _paths(document, free):
        planted = copy.deepcopy(document)
        below: Any = planted
        for key in path[:-1]:
            below = below[key]
        below[f"{path[-1]}x"] = below.pop(path[-1])
        yield ".".join(map(str, path)), planted


def _paths(found: Any, free: set[str], above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    match found:
        case dict():
            for key, value in found.items():
                yield (*above, key)
                if key not in free:
                    yield from _paths(value, free, (*above, key))
        case list():
            for index, value in enumerate(found):
                yield from _paths(value, free, (*above, index))
