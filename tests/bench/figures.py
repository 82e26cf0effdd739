"""What the benchmark says: medians and ratios, or that outputs disagree, and then no figure. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import msgspec

from app.errors import AutopilotError
from tests.bench.traffic import Sums

OURS, OURS_TLS = "ours", "ours_tls"
# name: (peer, its records a message)
RATIOS = {
    "kafka_streams_1000": ("kafka_streams", 1000),
    "quix_1000": ("quix", 1000),
    "plain_faust": ("plain_faust", 1),
    "limit_1000": ("limit", 1000),
    "quix_1": ("quix", 1),
    "kafka_streams_1": ("kafka_streams", 1),
    "tls_1000": (OURS_TLS, 1000),
}
OURS_BESIDE = {"plain_faust": 1000}  # records a message of ours, where not the peer's own: Faust knows one only
AHEAD = "combined"  # adds a message up before the engine sees it: shown, but that is no configuration of the engine
SHOWN_MAX = 3


class Disagreement(AutopilotError):
    """A program's output is not what was sent: no figure of this benchmark means anything."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one program, as it is measured; `wrong` is what was not right beside the sums."""

    records: int
    seconds: float
    sums: Sums
    settings: dict[str, str | int | float]
    wrong: Sequence[str] = ()

    @property
    def rate(self) -> float:
        return self.records / self.seconds


class Row(msgspec.Struct, kw_only=True):
    """A program in one of its configurations, and how fast it was in each round, in records a second."""

    program: str
    per_message: int
    variant: str
    records: int
    settings: dict[str, str | int | float]
    rates: list[float]

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.program, str(self.per_message), self.variant)))

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return median(self.rates)


def differences(name: str, got: Sums, expected: Sums) -> Iterator[str]:
    """How a program's sums differ from what is in the topic, one line each; only the first are told."""
    keys = sorted(key for key in got.keys() | expected.keys() if got.get(key, 0) != expected.get(key, 0))
    for key in keys[:SHOWN_MAX]:
        yield f"{name}: {key}: {got.get(key, 0):,} bytes, {expected.get(key, 0):,} were sent"
    if len(keys) > SHOWN_MAX:
        yield f"{name}: {len(keys) - SHOWN_MAX} more of {len(expected)} sums differ"


def check(name: str, run: Run, expected: Sums) -> None:
    """Disagreement, which says what differs, unless all is as it was sent."""
    if problems := [*run.wrong, *differences(name, run.sums, expected)]:
        raise Disagreement("the outputs disagree, so there are no figures:\n" + "\n".join(problems))


def best(rows: Sequence[Row], program: str, per_message: int) -> Row | None:
    """The fastest configuration in which a program adds up record by record, None where it was not run."""
    found = [row for row in rows if (row.program, row.per_message) == (program, per_message) and row.variant != AHEAD]
    return max(found, key=lambda row: row.rate, default=None)


def ours_over(rows: Sequence[Row], row: Row) -> float | None:
    """Ours over a row of a peer; None where ours was not run, or the row is ours."""
    ours = best(rows, OURS, OURS_BESIDE.get(row.program, row.per_message))
    return None if ours is None or row.program == OURS else ours.rate / row.rate


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Ours over the best of what was run of a peer (`best`)."""
    found = {}
    for name, (peer, per_message) in RATIOS.items():
        other = best(rows, peer, per_message)
        if other is not None and (ratio := ours_over(rows, other)) is not None:
            found[name] = round(ratio, 3)
    return found


def document(rows: Sequence[Row]) -> Mapping[str, object]:
    """What `--json` prints."""
    shown = [
        msgspec.structs.asdict(row) | {"records_per_s": round(row.rate), "ours_over_it": ours_over(rows, row)}
        for row in rows
    ]
    return {"ratios": ratios(rows), "rows": shown}
