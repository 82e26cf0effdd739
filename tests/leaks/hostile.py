"""Decisions that nobody should make, among those that telemetry would: the same seed makes the same ones."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from app.clock import utc
from app.config.inventory import Pop
from app.contract.schemas import Decision, NaturalExit, Override, Released, SourcePath
from tests.leaks.truth import MOVABLE, NESTED, NEVER, TOO_LONG, Move, Truth

UINT32_MAX = 2**32 - 1
PREFIXES: Sequence[str] = (
    *(*NEVER, TOO_LONG, "20.0.0.0/25", "20.0.0.0/23", "20.0.0.0/8", "20.0.0.1/32", "20.0.5.128/25", "21.0.0.0/24"),
    *("198.18.0.0/16", "198.18.0.0/15", "198.16.0.0/12", "198.18.255.0/24", "2001:db8:1000::/40", "2001:db8::/32"),
    *("2001:db8:2000::/47", "2001:db8:2000::/49", "2001:db8:20ff::/48", "2001:db8:2000::1/128", "2001:db8:1000::/48"),
    *("10.0.0.0/8", "127.0.0.0/8", "192.168.1.0/24", "224.0.0.0/4", "240.0.0.0/4", "fe80::/10", "ff00::/8", "::1/128"),
    *("0.0.0.0/1", "128.0.0.0/1", "::/3", "2000::/3", "20.0.0.1/24", "20.0.0.0/255.255.255.0", "20.0.0.0"),
    *("20.0.0.0/33", "020.0.0.0/24", "20.0.0.0/024", " 20.0.0.0/24", "20.0.0.0/24 ", "20.0.0.0/24\x00"),
    *("20.0.0.0/\u0968\u096a", "\uff12\uff10.0.0.0/24", "\u0662\u0660.0.0.0/24"),  # digits of other scripts
    *("::ffff:20.0.0.0/120", "::ffff:1400:0/120"),
    *("2001:db8:2000::%lo/48", "2001:DB8:2000::/48", "2001:db8:2000:0::/48"),
    *("", "*", "/", "x", "é/24", "20.0.0.0/-1", "2001:db8:2000::/129", "\U0001f6f0/8", "20.0.0.0/24\u202e", "x" * 64),
)  # fmt: skip
HOPS: Sequence[str] = (
    *("127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.5", "240.0.0.1", "::", "::1", "ff02::1", "fe80::1"),
    *("::ffff:127.0.0.1", "::ffff:198.51.100.2", "::ffff:c633:6402", "fe80::1%lo", "198.51.100.2/32", "198.051.100.2"),
    *("192.0.2.11", "192.0.2.12", "192.0.2.13", "2001:db8:ffff::12", "192.0.2.1", "198.18.0.1", "203.0.113.1"),
    *(
        "127.0.0.21",
        "127.0.0.11",
        "127.0.0.31",
        "127.0.0.39",
        "",
        "x",
        "198.51.100.2\n",
        "\uff11\uff19\uff18.51.100.2",
        "*",
    ),
    *(f"198.51.100.{number}" for number in range(1, 10)),
)
NUMBERS = (0, 23456, 65535, 64512, UINT32_MAX, 1, 65010)  # 64512 is our own AS
MEDS = (None, 0, 1, 10, 2**31, UINT32_MAX)
NAMES = (
    "",
    "*",
    "r1",
    "r2",
    "r3",
    "r4",
    "R1",
    "r1 ",
    "r1\x00",
    "leaks/r1/pni",
    "leaks/r2/ixp",
    "../r1",
    "é",
    "x" * 512,
)
HUGE = 5000

Change = Callable[["Sets", Override], Override]


class Sets:
    """Makes one decision record after the other, for one PoP."""

    def __init__(self, pop: Pop, truth: Truth, seed: int, epoch: int) -> None:
        self._pop, self._truth = pop, truth
        self._rng = random.Random(seed)
        self._epoch, self._seq = epoch, 0
        self._routers = tuple(pop.routers)

    def next(self, now_s: float) -> bytes:
        """The next record, made at `now_s`."""
        rng = self._rng
        self._seq += 1
        decision = self._decision(now_s, self._overrides())
        if rng.random() < 0.15:
            decision = self._late_or_foreign(decision)
        value = msgspec.json.encode(decision)
        if rng.random() < 0.03:
            value = self._damaged(value)
        return value

    def _overrides(self) -> list[Override]:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.05:
            return []
        if kind < 0.052:
            return [self._hostile() for _ in range(HUGE)]
        if kind < 0.06:
            return [self._valid(move) for move in self._moves(rng.randrange(50, 200))]
        valid = [self._valid(move) for move in self._moves(rng.randrange(1, 7))]
        if kind < 0.5:
            return valid
        mixed = [*valid, *(self._hostile() for _ in range(rng.randrange(1, 6)))]
        rng.shuffle(mixed)
        return mixed

    def _moves(self, count: int) -> list[Move]:
        """Moves of different prefixes."""
        by_prefix = {move.route.prefix: move for move in self._rng.choices(self._truth.moves, k=count)}
        return list(by_prefix.values())

    def _valid(self, move: Move) -> Override:
        route = move.route
        return Override(
            prefix=route.prefix,
            exit=move.exit,
            inject_on=self._routers,
            natural=(NaturalExit("r1", "leaks/r1/pni", 1.0),),
            source_path=SourcePath(route.as_path, "igp", route.med),
            bps=1e9,
            reason="leaks/r1/pni is congested",
        )

    def _hostile(self) -> Override:
        override = self._valid(self._rng.choice(self._truth.moves))
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            override = self._rng.choice(CHANGES)(self, override)
        return override

    def _decision(self, now_s: float, overrides: Sequence[Override]) -> Decision:
        asked = {override.prefix for override in overrides}
        # What the set does not have is given back, whether or not it was moved; now and then a prefix is forgotten.
        gone = [prefix for prefix in (*MOVABLE, *NESTED) if prefix not in asked and self._rng.random() < 0.9]
        made_at = utc(now_s)
        return Decision(
            pop=self._pop.name,
            epoch=self._epoch,
            seq=self._seq,
            mode="auto",
            window_start=made_at,
            made_at=made_at,
            add_until=made_at + timedelta(seconds=30),
            hold_until=made_at + timedelta(seconds=300),
            overrides=tuple(overrides),
            released=tuple(Released(prefix, "natural-load-fits") for prefix in gone),
        )

    def _late_or_foreign(self, decision: Decision) -> Decision:
        """One that must not be followed, or not for what it adds."""
        rng, at = self._rng, decision.made_at
        far = rng.choice((timedelta(days=1), timedelta(days=3650), timedelta(seconds=301)))
        changes: Sequence[dict[str, Any]] = (
            {"pop": rng.choice(NAMES)},
            {"epoch": rng.choice((0, 1, self._epoch - 1))},
            {"epoch": rng.choice((self._epoch + 10_000, 2**31, UINT32_MAX)), "seq": UINT32_MAX},
            {"seq": rng.choice((0, 1, self._seq - 1))},
            {"add_until": at - rng.choice((timedelta(seconds=1), far))},
            {"made_at": at + far},
            {"hold_until": at + far},
            {"hold_until": at - far},
            {"mode": rng.choice(("observe", "dry-run"))},
            {"overrides": ()},
            {"released": tuple(Released(rng.choice((*PREFIXES, *MOVABLE)), "") for _ in range(20))},
        )
        return msgspec.structs.replace(decision, **rng.choice(changes))

    def _damaged(self, value: bytes) -> bytes:
        rng, damaged = self._rng, bytearray(value)
        for _ in range(rng.choice((1, 3, 10))):
            at = rng.randrange(len(damaged))
            match rng.randrange(4):
                case 0:
                    damaged[at] = rng.randrange(256)
                case 1:
                    del damaged[at:]
                    damaged += b"}"
                case 2:
                    damaged[at:at] = rng.choice((b"\xff", b"\xed\xa0\x80", b"\\ud800", b'"', b"[" * 1000))
                case _:
                    damaged[at:at] = b"9" * rng.choice((1, 30, 700_000))
        return bytes(damaged)

    # what a hostile override has wrong

    def prefix(self, override: Override) -> Override:
        return msgspec.structs.replace(override, prefix=self._rng.choice(PREFIXES))

    def other_prefix(self, override: Override) -> Override:
        """One that is announced, but perhaps not by this neighbour."""
        return msgspec.structs.replace(override, prefix=self._rng.choice(MOVABLE))

    def next_hop(self, override: Override) -> Override:
        return self._exit(override, next_hop=self._rng.choice(HOPS))

    def exit_names(self, override: Override) -> Override:
        key = self._rng.choice(("router", "link", "peer"))
        return self._exit(override, **{key: self._rng.choice((*NAMES, *HOPS)[:64])})

    def other_exit(self, override: Override) -> Override:
        """Parts of the exits of two moves."""
        other, key = self._rng.choice(self._truth.moves).exit, self._rng.choice(("router", "link", "peer", "next_hop"))
        return self._exit(override, **{key: getattr(other, key)})

    def path_id(self, override: Override) -> Override:
        return self._exit(override, path_id=self._rng.choice((1, UINT32_MAX)))

    def as_path(self, override: Override) -> Override:
        rng = self._rng
        length = rng.choice((0, 1, 2, 63, 64, 65, 255, 256, 257, 900, 901, 1023, 1024, rng.randrange(1025)))
        numbers = [rng.randrange(1, UINT32_MAX) for _ in range(length)]
        for at in range(length) if rng.random() < 0.5 else ():
            if rng.random() < 0.1:
                numbers[at] = rng.choice(NUMBERS)
        return self._source(override, as_path=tuple(numbers))

    def attributes(self, override: Override) -> Override:
        return self._source(override, med=self._rng.choice(MEDS), origin=self._rng.choice(("igp", "egp", "incomplete")))

    def inject_on(self, override: Override) -> Override:
        rng = self._rng
        names = rng.choices((*self._routers, *self._routers, *NAMES), k=rng.randrange(5))
        return msgspec.structs.replace(override, inject_on=tuple(rng.choice((names, names[:1], self._routers * 200))))

    def twice(self, override: Override) -> Override:
        """A prefix that other overrides of the set are likely to have as well."""
        return msgspec.structs.replace(override, prefix=MOVABLE[0])

    def _exit(self, override: Override, **changes: Any) -> Override:
        return msgspec.structs.replace(override, exit=msgspec.structs.replace(override.exit, **changes))

    def _source(self, override: Override, **changes: Any) -> Override:
        return msgspec.structs.replace(override, source_path=msgspec.structs.replace(override.source_path, **changes))


CHANGES: Sequence[Change] = (
    *(Sets.prefix,) * 4,
    *(Sets.other_prefix, Sets.next_hop, Sets.exit_names, Sets.other_exit, Sets.other_exit, Sets.path_id),
    *(Sets.as_path, Sets.as_path, Sets.attributes, Sets.inject_on, Sets.twice),
)
