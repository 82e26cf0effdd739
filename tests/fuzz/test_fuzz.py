"""A short run of the fuzzer, and whether it finds what it is there to find."""

import base64
import ctypes
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.counters import CountersState
from app import native
from app.actuation.bmp_witness import BmpWitness
from app.actuation.journal import Journal
from app.clock import SystemClock
from app.contract import signing
from app.contract.schemas import Control
from app.contract.signing import Keyring, TrustedSigner
from app.kafka.orders import Orders
from app.native import Job
from app.te.decision.guards import Guards
from app.te.routing.path import Path as RoutePath
from app.web.pop_model import PopModel
from tests.fuzz import corpus, fuzzer
from tests.fuzz.actuation import Actuator, Tally, decisions, read_order
from tests.fuzz.fuzzer import Result, fuzz
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import targets

SHORT_S, SHORT_INPUTS = 8.0, 20_000
DECISIONS = ("actuator-decisions", "actuator-fields")
ROUNDS = 60  # in which a planted bug must be found


def test_a_short_run_finds_nothing() -> None:
    tally: Tally = Counter()
    result = fuzz(targets(tally), Result(seed=1), SystemClock(), SHORT_S, SHORT_INPUTS, lambda line: None)
    assert [failure.error for failure in result.failures] == []
    assert result.grew_bytes < fuzzer.GROWTH_BYTES_MAX
    assert result.inputs >= SHORT_INPUTS
    assert set(result.by_target) == {target.name for target in targets()}
    assert tally["ends"] == tally["announced_hostile"] == 0
    assert tally["decisions"] >= sum(result.by_target[target] for target in DECISIONS)
    assert tally["orders"] == result.by_target["actuator-orders"]
    assert min(tally[what] for what in ("followed", "announced", "dead letters", "orders followed")) > 100
    assert min(tally[f"refused: {reason}"] for reason in ("unknown-link", "own-prefix", "source-path-not-live")) > 0


def test_the_same_seed_makes_the_same_inputs() -> None:
    seeds = corpus.flows()
    first, second, other = (Mutator(seeds, corpus.rng(seed)).mutants(300) for seed in (1, 1, 2))
    assert first == second != other
    assert len(set(first)) > 200, "and they differ among themselves"


def found(target: str) -> Result:
    """What a short run of one target finds, which ends with the first failure."""
    result = Result(seed=1)
    chosen = [each for each in targets() if each.name == target]
    for _ in range(ROUNDS):
        fuzz(chosen, result, SystemClock(), 0.0, 0, lambda line: None)
        if result.failures:
            break
    return result


Plant = Callable[[pytest.MonkeyPatch], None]


def bytes_of_latin_1(patch: pytest.MonkeyPatch) -> None:
    """Keys are text, but not always UTF-8."""
    take = Orders.take
    patch.setattr(Orders, "take", lambda self, key, *record: take(self, (key or b"").decode().encode(), *record))


def loads_are_believed(patch: pytest.MonkeyPatch) -> None:
    links = PopModel.links

    def shown(self: Any, now_s: float) -> Any:
        views = links(self, now_s)
        windows = [view.window for view in views if view.window is not None]
        loads = [load for window in windows for load in (window.capacity_bps, window.carried_bps, window.natural_bps)]
        assert all(load is None or load >= 0 for load in loads)
        return views

    patch.setattr(PopModel, "links", shown)


def a_counter_is_believed(patch: pytest.MonkeyPatch) -> None:
    apply = CountersState._apply

    def counted(self: Any, tp: Any, record: Any) -> None:
        assert b'"ifSpeed": 0' not in record.value
        apply(self, tp, record)

    patch.setattr(CountersState, "_apply", counted)


def our_own_prefixes_may_be_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guards, "prefix", lambda self, prefix: None)


def every_path_is_live(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BmpWitness, "exit_path", lambda self, prefix, exit, path: RoutePath(exit.peer, exit.next_hop, path))


def refusals_are_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "refused", lambda self, *_: None)


def a_deleted_order_is_lifted(patch: pytest.MonkeyPatch) -> None:
    take = Orders.take

    def taken(self: Orders, key: bytes | None, value: bytes | None, at_s: float) -> Any:
        if value is None:
            self._orders.pop((key or b"").decode(errors="replace"), None)
        return take(self, key, value, at_s)

    patch.setattr(Orders, "take", taken)


def keys_say_nothing(patch: pytest.MonkeyPatch) -> None:
    take = Orders.take

    def taken(self: Orders, key: bytes | None, value: bytes | None, at_s: float) -> Any:
        order = read_order(value)
        return take(self, order.pop.encode() if isinstance(order, Control) else key, value, at_s)

    patch.setattr(Orders, "take", taken)


def a_record_may_stand_anywhere(patch: pytest.MonkeyPatch) -> None:
    read, place = Keyring.read, ("decisions-rhv1000", b"rhv1000")
    patch.setattr(Keyring, "read", lambda self, reader, topic, key, *record: read(self, reader, *place, *record))


def a_key_may_sign_anything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TrustedSigner, "may_sign", lambda self, kind, pop: True)


def base64_has_many_spellings(patch: pytest.MonkeyPatch) -> None:
    class AnyText(bytes):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = bytes.__hash__

    def spelled(made: bytes) -> bytes:
        return AnyText(base64.b64encode(made))

    patch.setattr(signing, "base64", SimpleNamespace(b64decode=base64.b64decode, b64encode=spelled))


def orders_have_no_turn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Orders, "_in_turn", lambda self, name, order, value, at_s: order)


@pytest.mark.parametrize(
    ("target", "plant"),
    [
        ("signed-decisions", a_record_may_stand_anywhere),
        ("signed-decisions", a_key_may_sign_anything),
        ("signed-decisions", base64_has_many_spellings),
        ("signed-orders", base64_has_many_spellings),
        ("signed-orders", orders_have_no_turn),
        ("actuator-decisions", every_path_is_live),
        ("actuator-fields", our_own_prefixes_may_be_moved),
        ("actuator-fields", every_path_is_live),
        ("actuator-fields", refusals_are_silent),
        ("actuator-orders", a_deleted_order_is_lifted),
        ("actuator-orders", keys_say_nothing),
        ("actuator-orders", bytes_of_latin_1),
        ("page-link-utilization", loads_are_believed),
        ("agent-sfacctd-counters", a_counter_is_believed),
    ],
)
def test_a_planted_crash_is_found(target: str, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    result = found(target)
    assert result.crashes
    assert not result.ok
    assert result.failures[0].target == target


@pytest.mark.parametrize(
    ("line", "planted"),
    [
        ("           texts[ARRIVED].size <= TEXT_MAX &&\n", ""),  # a time of 70 digits, which the library refuses
        ("sum * 10 + (*at - '0')", "sum * 10 + (*at & 7)"),
        ("if (*field != OTHER && flow->seen & 1 << *field) return 0;", ""),  # the second of two values
    ],
)
def test_a_planted_difference_of_the_scanner_is_found(
    line: str, planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(native.__file__).with_name("scan.c").read_text()
    assert line in source
    (tmp_path / "scan.c").write_text(source.replace(line, planted))
    argv = ["cc", "-std=c11", "-O2", "-shared", "-fPIC", "-o", "planted.so", "scan.c"]
    subprocess.run(argv, cwd=tmp_path, check=True)
    library = ctypes.PyDLL(str(tmp_path / "planted.so"))
    library.scan.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.POINTER(Job)]
    monkeypatch.setattr(native, "library", library)
    result = found("scanner")
    assert result.differences
    assert not result.ok


@pytest.mark.parametrize("size", [600_000, 9_000_000])
@pytest.mark.parametrize("key", ["prefix", "reason"])
def test_a_text_of_any_size_is_one_small_dead_letter(key: str, size: int) -> None:
    """Its refusal was a record that no broker takes, and nothing was published any more."""
    tally: Tally = Counter()
    value = next(value for value in decisions() if b'"prefix":"' in value)
    place = f'"{key}":"'.encode()
    Actuator(tally).decide([value.replace(place, place + b"2" * size, 1)])
    assert tally == {"decisions": 1, "dead letters": 1}


def test_memory_that_grows_is_a_failure() -> None:
    assert Result(seed=1, warm_bytes=10**8, most_bytes=2 * 10**8).ok
    assert not Result(seed=1, warm_bytes=10**8, most_bytes=5 * 10**8).ok
