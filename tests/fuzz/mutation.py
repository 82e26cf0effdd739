"""Changes valid records into what a broken or hostile writer could write. The same seed makes the same bytes."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

SIZE_MAX = 100_000
BYTES = b'"{}[]:,\\ 0123456789aefntu.+-\x00\xff\xe9\xc3\n'
NUMBERS: Sequence[Any] = (
    *(0, -1, 1, 2, 255, 4200, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64, 10**30, 10**400),
    *(0.5, -0.0, 1e-9, 1.5, 1e18, 1e19, 1e308, float("nan"), float("inf"), float("-inf")),
)
TEXTS: Sequence[Any] = (
    *("", "*", "/", "//", "a/b/c/d", "é", "\ud800", "\x00", "x" * 64, "x" * 65, "x" * 513, "x" * 2001, "9" * 5000),
    *("0.0.0.0", "::", "::ffff:1.2.3.4", "fe80::1%eth0", "01.2.3.4", "203.0.113.9/24", "203.0.113.0/33", "0.0.0.0/0"),
    *("1e400", "-1", "inf", "nan", "1795246109.5", "1" * 70, "0" * 60 + "1795246109", "purge", "purge_init", "log"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59Z", "2199-12-31T23:59:59Z"),
    *("2026-11-21T07:30:00", "2026-11-21T07:30:00+23:59", "2026-02-30T00:00:00Z", "2026-11-21T07:30:60Z"),
    *("update", "withdraw", "peer_up", "peer_down", "init", "term", "64601 {64602 64603} (65001)", "4294967296", "{}"),
    *("auto", "opened", "closed", "silent", "untrusted", "withdrawn", "refused", "decision/2", "rhv1000", "fra1000"),
)
OTHERS: Sequence[Any] = (None, True, False, [], {}, [[]], [None], {"": None}, [1, "a", {}], "\U0001f600")


class Mutator:
    """Makes mutants of some valid records."""

    def __init__(self, seeds: Sequence[bytes], rng: random.Random) -> None:
        self._seeds, self._rng = seeds, rng
        self._trees = [tree for seed in seeds if (tree := _tree(seed)) is not None]

    def mutants(self, count: int) -> list[bytes]:
        """So many mutants, and now and then a seed as it is."""
        return [self._mutant() for _ in range(count)]

    def _mutant(self) -> bytes:
        rng = self._rng
        kind = rng.random()
        if kind < 0.05:
            return rng.choice(self._seeds)
        if kind < 0.60 and self._trees:
            made = self._of_tree()
            return made if rng.random() < 0.85 else self._of_bytes(made)
        return self._of_bytes(rng.choice(self._seeds))

    def _of_tree(self) -> bytes:
        """A record with one to three of its values, keys or lists changed; most can still be decoded."""
        tree = json.loads(json.dumps(self._rng.choice(self._trees)))
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            self._change(tree)
        text = json.dumps(tree, ensure_ascii=self._rng.random() < 0.7)
        return text.encode(errors="surrogatepass")[:SIZE_MAX]

    def _change(self, tree: Any) -> None:
        places = list(_places(tree))
        if not places:
            return
        container, key = self._rng.choice(places)
        change = self._rng.choice(CHANGES)
        change(self._rng, container, key)

    def _of_bytes(self, seed: bytes) -> bytes:
        rng, made = self._rng, bytearray(seed)
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(made) + 1)
            match rng.randrange(7):
                case 0 if made:
                    made[at - 1] = rng.randrange(256)
                case 1:
                    made[at:at] = bytes([rng.choice(BYTES)])
                case 2:
                    del made[at : at + rng.choice((1, 1, 3, 40))]
                case 3:
                    made[at:at] = made[at : at + rng.choice((1, 8, 200))]
                case 4:
                    made[at:] = rng.choice(self._seeds)[rng.randrange(max(1, len(seed))) :]
                case 5:
                    made[at:at] = rng.choice((b"[", b'{"a":', b"\xed\xa0\x80", b"1")) * rng.choice((1, 20, 3000))
                case _:
                    del made[at:]
        return bytes(made[:SIZE_MAX])


def _tree(seed: bytes) -> Any:
    """The record in a seed; None if it is not one."""
    try:
        return json.loads(seed) if seed[:1] == b"{" else None
    except (ValueError, RecursionError):
        return None


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) of a JSON tree."""
    found, stack = list[tuple[Any, Any]](), [tree]
    while stack:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            stack.append(node[key])
    return found


def _value(rng: random.Random, container: Any, key: Any) -> None:
    """A value of the same type more often than of another, or the record would not get past its decoder."""
    before, kind = container[key], rng.random()
    if kind < 0.75 and isinstance(before, int | float) and not isinstance(before, bool):
        container[key] = rng.choice((*NUMBERS, before * 1000, -before, before + 1, before // 2))
    elif kind < 0.75 and isinstance(before, str):
        container[key] = rng.choice((*TEXTS, before + "x", before[1:], before[:-1], before.upper(), before * 3))
    else:
        container[key] = copy.deepcopy(rng.choice((*NUMBERS, *TEXTS, *OTHERS)))


def _gone(rng: random.Random, container: Any, key: Any) -> None:
    del container[key]


def _more(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, list):
        container[key:key] = [container[key]] * rng.choice((1, 2, 30))
    else:
        container[rng.choice((key + "_", "", "schema", "event_type", "extra"))] = container[key]


def _swapped(rng: random.Random, container: Any, key: Any) -> None:
    other = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    container[key], container[other] = container[other], container[key]


def _deep(rng: random.Random, container: Any, key: Any) -> None:
    value = container[key]
    for _ in range(rng.choice((1, 3, 100))):
        value = [value]
    container[key] = value


CHANGES: Sequence[Callable[[random.Random, Any, Any], None]] = (*(_value,) * 8, _gone, _more, _more, _swapped, _deep)
