"""The verdicts on what must never happen and on bad input: a run that shows it is ok, one that does not is named."""

from typing import Any

import msgspec
import pytest

from app.lab.demo.evidence import ByteAccount, Evidence, Injected, Planted
from app.lab.demo.forger import NAMED
from app.lab.demo.score import score
from tests.app.lab.demo.test_score import GOOD, SUMMARY, T0, act

CALM = msgspec.structs.replace(
    GOOD,
    decisions=(),
    actuations=(),
    kill=None,
    marked_during={"r1": 0, "r2": 0},
    marked_copies={"r1": 0, "r2": 0},
    summary=msgspec.structs.replace(SUMMARY, overrides_max=0, dropped_bytes=0, dropped_bytes_without_overrides=0),
)
LEAK = msgspec.structs.replace(GOOD, verdict="leak", announcements_leaked=("20.0.0.0/24",), overrides_leaked=1)
LOOPED = msgspec.structs.replace(CALM.summary, loops=2, looped_bytes=500)
STRAY = Planted("stray", "20.0.0.0/24", T0 + 8.0, T0 + 10.0, False)
NEVER = msgspec.structs.replace(STRAY, from_s=float("inf"))
ENDLESS = Planted("loop", "20.0.0.0/24", T0 + 18.0, float("inf"), True)
LOOP = msgspec.structs.replace(
    CALM,
    verdict="loop",
    actuations=(act("drift"), act("withdrawn")),
    summary=LOOPED,
    planted=(STRAY, Planted("loop", "20.0.0.0/24", T0 + 18.0, T0 + 23.0, True)),
    loop_after_removal_s=0.0,
)
BAD_INPUT = msgspec.structs.replace(
    CALM,
    verdict="bad-input",
    progress=ByteAccount(
        records=8, counted_bytes=1000, late_bytes=70, unattributed_bytes={"unroutable": 30}, closed_up_to_s=T0
    ),
    dead_letters=5,
    injected=Injected({"unroutable": 30}, 70, 5),
    noticed=NAMED,
)


@pytest.mark.parametrize("evidence", [LEAK, LOOP, BAD_INPUT], ids=lambda evidence: evidence.verdict)
def test_what_shows_what_it_is_to_show_is_ok(evidence: Evidence) -> None:
    assert score(evidence)["failed"] == []


@pytest.mark.parametrize(
    ("evidence", "change", "bound"),
    [
        (LEAK, {"announcements_leaked": ()}, "leaks were seen"),
        (LEAK, {"overrides_leaked": 0}, "overrides were among the leaks"),
        (LEAK, {"actuations": ()}, "prefixes were moved"),
        (LEAK, {"summary": msgspec.structs.replace(SUMMARY, loops=1)}, "no loops"),
        (LOOP, {"summary": msgspec.structs.replace(LOOPED, loops=0)}, "a loop was seen"),
        (LOOP, {"loop_after_removal_s": 2.0}, "no loop after its cause was gone"),
        (LOOP, {"loop_after_removal_s": None}, "no loop after its cause was gone"),
        (LOOP, {"planted": (STRAY, ENDLESS)}, "the loop's cause was taken away"),
        (LOOP, {"actuations": ()}, "the stray route was reported"),
        (LOOP, {"planted": (NEVER,)}, "Autopilot withdrew the stray route within 5 s"),
        (LOOP, {"planted": ()}, "Autopilot withdrew the stray route within 5 s"),
        (
            LOOP,
            {"planted": (msgspec.structs.replace(STRAY, taken_out=True),)},
            "Autopilot withdrew the stray route within 5 s",
        ),
        (
            LOOP,
            {"planted": (msgspec.structs.replace(STRAY, gone_s=T0 + 14.0),)},
            "Autopilot withdrew the stray route within 5 s",
        ),
        (LOOP, {"actuations": (act("drift"), act("announced"))}, "no prefix moved"),
        (LOOP, {"announcements_leaked": ("20.0.0.0/24",)}, "no leaks"),
        (BAD_INPUT, {"injected": Injected({}, 0, 0)}, "bad input was injected"),
        (BAD_INPUT, {"injected": Injected({"unroutable": 31}, 69, 5)}, "every injected byte has its reason"),
        (BAD_INPUT, {"injected": Injected({"unknown-router": 30}, 70, 5)}, "every injected byte has its reason"),
        (BAD_INPUT, {"injected": Injected({"unroutable": 30}, 71, 5)}, "late bytes are the injected ones"),
        (BAD_INPUT, {"injected": Injected({"unroutable": 30}, 71, 5)}, "every sampled byte is accounted for"),
        (BAD_INPUT, {"dead_letters": 4}, "dead letters are the injected lines"),
        (BAD_INPUT, {"noticed": frozenset({"counters-refused"})}, "what was forged is named"),
        (BAD_INPUT, {"restarts": 1}, "no restarts"),
        (BAD_INPUT, {"restarts": 1, "crashes": 1}, "nothing crashed"),
        (BAD_INPUT, {"actuations": (act("announced"),)}, "no prefix moved"),
    ],
)
def test_what_it_does_not_show_is_named(evidence: Evidence, change: dict[str, Any], bound: str) -> None:
    failed = score(msgspec.structs.replace(evidence, **change))["failed"]
    assert isinstance(failed, list)
    assert bound in failed
