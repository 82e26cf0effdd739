"""How far an override has come follows from the last action on each of its routers."""

import msgspec
import pytest

from app.clock import utc
from app.contract.schemas import Actuation
from app.web.override_states import PREFIXES_MAX, OverrideState, OverrideStates
from tests.app.web.records import POP, override

HOP, LOOPBACK = "198.51.100.2", "192.0.2.11"
Act = tuple[str, str]  # router, action


def act(router: str, action: str, reason: str = "why", next_hop: str | None = None) -> Actuation:
    hop = next_hop or (HOP if router == "r1" else LOOPBACK)
    record = Actuation(
        id=f"{router}{action}", pop=POP, router=router, prefix=override().prefix, action="announced", reason=reason,
        next_hop=hop, epoch=1, seq=1, at=utc(0),
    )  # fmt: skip
    return msgspec.structs.replace(record, action=action)


def states(*actuations: Actuation) -> OverrideStates:
    known = OverrideStates()
    for actuation in actuations:
        known.take(actuation)
    return known


@pytest.mark.parametrize(
    ("actions", "shown"),
    [
        ([], "decided"),
        ([act("r1", "announced")], "announced, confirmed by 0 of 2"),
        ([act("r1", "announced"), act("r1", "confirmed"), act("r2", "announced")], "announced, confirmed by 1 of 2"),
        ([act("r1", "confirmed"), act("r2", "confirmed")], "confirmed"),
        ([act("r1", "confirmed"), act("r2", "confirmed"), act("r2", "drift")], "announced, confirmed by 1 of 2"),
        ([act("r1", "refused", "speaker-unreachable")], "refused: speaker-unreachable"),
        ([act("r1", "refused", "too-late"), act("r1", "announced")], "announced, confirmed by 0 of 2"),
        ([act("r1", "would-announce"), act("r2", "would-announce")], "would-announce"),
        ([act("r1", "confirmed"), act("r1", "withdrawn", "halted by control")], "withdrawn: halted by control"),
        (
            [act("r1", "confirmed"), act("r2", "confirmed"), act("r2", "withdrawn", "source-path-lost")],
            "withdrawn: source-path-lost",
        ),
        # Released earlier, and decided again: the newest decision wants it.
        ([act("r1", "withdrawn", "released: natural-load-fits")], "decided"),
        # A refusal of another exit, of this router or of another, leaves the routes as they were.
        (
            [act("r1", "confirmed"), act("r2", "confirmed"), act("r1", "refused", "too-late", "198.51.100.3")],
            "confirmed",
        ),
        (
            [act("r2", "refused", "too-late", "198.51.100.9"), act("r1", "confirmed"), act("r2", "confirmed")],
            "confirmed",
        ),
        # Nor does it matter what became of the route of a router that the override does not need.
        ([act("r3", "withdrawn"), act("r1", "confirmed"), act("r2", "confirmed")], "confirmed"),
        # What was done for another exit of the prefix is not this override.
        ([act("r1", "confirmed", next_hop="198.51.100.3"), act("r2", "confirmed")], "decided"),
    ],
)
def test_the_last_actions_say_how_far_it_has_come(actions: list[Actuation], shown: str) -> None:
    assert str(states(*actions).of(POP, override())) == shown


def test_routers_are_those_of_this_exit() -> None:
    both = act("r1", "confirmed"), act("r2", "confirmed")
    assert states(*both).of(POP, override()).routers == {"r1": "confirmed", "r2": "confirmed"}
    elsewhere = override(next_hop="198.51.100.9")
    assert states(*both).of(POP, elsewhere) == OverrideState("decided", None, {})
    assert states(*both).of("other", override()).state == "decided"


def test_memory_is_bounded_and_keeps_what_was_acted_on_last() -> None:
    known = OverrideStates()
    for number in range(PREFIXES_MAX + 1):
        known.take(msgspec.structs.replace(act("r1", "announced"), prefix=f"p{number}"))
    assert known.of(POP, override("p0")).state == "decided"
    assert known.of(POP, override(f"p{PREFIXES_MAX}")).state == "announced"
