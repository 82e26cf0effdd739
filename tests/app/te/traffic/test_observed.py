"""What an observer keeps from cycle to cycle changes nothing of what it sees."""

from collections.abc import Sequence

from app.te.traffic.observed import LinkWindows, ObservedWindow, Observer, observe
from tests.app.te.world import WINDOW_S, natural_of, path, window
from tests.pops import link, pop

POP = pop(link("r1/a", 1), link("r2/b", 2))
A, B = POP.links
P, Q = "203.0.113.0/24", "198.51.100.0/24"


def windows(number: int, gbps: float = 10) -> LinkWindows:
    start_s = number * WINDOW_S
    return {A: window(POP, A, start_s, 20, {("r1", P): gbps, ("r2", Q): 5}), B: window(POP, B, start_s, 3, {})}


def columns_of(observed: ObservedWindow) -> list[list[tuple[str, dict[tuple[str, str], float]]]]:
    keys = observed.pairs.keys
    return [
        [
            (one.link, {keys[pair]: size for pair, size in zip(one.pairs.tolist(), one.sizes_bytes, strict=True)})
            for one in columns
        ]
        for columns in observed.columns
    ]


def alike(one: ObservedWindow, other: ObservedWindow) -> bool:
    return columns_of(one) == columns_of(other)


def test_what_is_kept_is_as_if_made_again() -> None:
    natural = natural_of(POP, {P: [path(1), path(2)], Q: [path(2)]})
    observer, history = Observer(natural), list[LinkWindows]()
    for number in range(5):
        history = [*history[-2:], windows(number, gbps=10 + number)]
        observed = observer.observe(history)
        assert alike(observed, observe(history, natural))
        assert observed.newest is history[-1]


def test_windows_of_before_a_restart_are_numbered_as_the_newest() -> None:
    """Rows bring pairs of their own; the newest window has those that the PoP's windows share from now on."""
    natural = natural_of(POP, {P: [path(1)]})
    history: Sequence[LinkWindows] = [windows(0), windows(1)]
    observed = Observer(natural).observe(history)
    assert observed.pairs is history[-1][A].demand.pairs
    assert len({tuple(map(tuple, columns[0].pairs[:, None].tolist())) for columns in observed.columns}) == 1


def test_without_any_window_there_is_nothing_to_see() -> None:
    observed = observe([], natural_of(POP, {}))
    assert (observed.newest, len(observed.pairs), len(observed.flows.pairs)) == ({}, 0, 0)
