"""`autopilot explain`, `congestion` and `watch`: what people and programs get, with worker and topics faked."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestServer

from app.cli import explain, main, show, situation, watch
from app.cli.explain import ask
from app.clock import ManualClock, utc
from app.config.settings import Kafka, load
from app.contract.schemas import (
    Actuation,
    Congestion,
    Decision,
    Exit,
    NaturalExit,
    Override,
    Refused,
    Released,
    SourcePath,
)
from app.errors import ConfigError, DaemonError
from app.kafka import read
from app.lab.daemons.ports import free_port
from app.te.explain.stories import AlternatePath, Estimate, Explained, Ingress, PrefixStory, explain_link
from app.web.override_states import ACTUATIONS_READ
from app.web.state_server import make_web
from tests.app.cli.test_main import deployment, run
from tests.app.kafka.memory import MemoryConsumer, Record, consuming_from
from tests.app.lab.demo.test_score import window
from tests.app.te.decision.test_cycle import A as LINK_A
from tests.app.te.decision.test_cycle import Desk

T0 = 1_795_246_100
POP, PREFIX = "rhv1000", "20.0.0.0/24"
FULL, FREE = "rhv1000/r1/et-0/0/1", "rhv1000/r1/et-0/0/2"
OVERRIDE = Override(
    prefix=PREFIX,
    exit=Exit("r1", FREE, "127.0.0.32", "198.51.100.2"),
    inject_on=("r1", "r2"),
    natural=(NaturalExit("r1", FULL, 1.0),),
    source_path=SourcePath((64602, 65010), "igp", 10),
    bps=4e9,
    reason=f"{FULL} natural 112% of capacity",
)


def decided(seq: int, **changes: Any) -> Decision:
    start_s = T0 + 10 * seq
    times: dict[str, Any] = {"window_start": utc(start_s), "made_at": utc(start_s + 13), "add_until": utc(start_s + 40)}
    return Decision(pop=POP, epoch=7, seq=seq, mode="auto", hold_until=utc(start_s + 310), **times, **changes)


def event(state: Any, natural: float, dropped: float = 0.0) -> Congestion:
    return Congestion(f"{FULL}/{T0}", FULL, state, utc(T0), min(natural, 1.0), dropped, natural, 0.04)


REFUSED = Refused("20.0.1.0/24", FULL, "no-room", 3e9)
DECISIONS = [
    decided(1, congestion=(event("opened", 1.12, 0.08),), overrides=(OVERRIDE,)),
    decided(2, congestion=(event("open", 1.2),), overrides=(OVERRIDE,), refused=(REFUSED,)),
    decided(3, congestion=(event("closed", 0.7),), released=(Released(PREFIX, "natural-load-fits"),)),
]
STORY = PrefixStory(
    prefix=PREFIX,
    status="moved",
    why=OVERRIDE.reason,
    demand=Estimate(4e9, 0.4e9, 430.0),
    ingress=(Ingress("r1", FULL, "198.51.100.1", FREE, Estimate(4e9, 0.4e9, 430.0)),),
    natural=OVERRIDE.natural,
    alternates=(
        AlternatePath("r1", "127.0.0.32", "198.51.100.2", (64602, 65010), FREE, 0.1, 12e9, "chosen"),
        AlternatePath("r1", "127.0.0.33", "198.51.100.3", (64603, 65010), "rhv1000/r1/et-0/0/3", 1.0, None, "drained"),
    ),
    override=OVERRIDE,
    since=utc(T0 + 20),
    stays="in force for 10 s; it stays for at least 300 s",
)


def act(action: Any, router: str, prefix: str, at_s: float) -> Actuation:
    return Actuation(
        id=f"{action}{router}{at_s}",
        pop=POP,
        router=router,
        prefix=prefix,
        action=action,
        reason="surge",
        next_hop="198.51.100.2",
        epoch=7,
        seq=1,
        at=utc(at_s),
    )


ACTUATIONS = [
    act("announced", "r1", PREFIX, T0 + 20.25),
    act("announced", "r1", "20.0.9.0/24", T0 + 20.3),
    act("confirmed", "r1", PREFIX, T0 + 20.5),
]
TOPICS: dict[str, list[Any]] = {
    "decisions-rhv1000": DECISIONS,
    "actuations": ACTUATIONS,
    "link-utilization": [window(9.5e10, 1.12e11)],
    "sources": [],
    "actuator-status": [],
    "control": [],
}
SILENT: frozenset[str] = frozenset()
NOW_S = T0 + 45.0


def recorded(topic: str, of: Any) -> Record:
    """The record, written when what it says was so."""
    at = getattr(of, "made_at", None) or getattr(of, "at", None)
    return Record(topic, msgspec.json.encode(of), timestamp=round(1000 * at.timestamp()) if at else 0)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A deployment whose topics and whose worker are these."""

    def consumer() -> MemoryConsumer:
        return MemoryConsumer({topic: [recorded(topic, one) for one in TOPICS[topic]] for topic in TOPICS})

    async def silent_topics(*_: object) -> frozenset[str]:
        return SILENT

    async def asked(port: int, pop: str, of: str) -> Explained:
        if of not in (PREFIX, "20.0.0.9"):
            raise ConfigError([f"no router of {pop} holds a route for {of}"])
        return Explained(pop=pop, as_of="7.2", window_end=utc(T0 + 30), prefix=STORY)

    monkeypatch.setattr(read, "_consumer", consuming_from(consumer))
    monkeypatch.setattr(situation, "silent_topics", silent_topics)
    monkeypatch.setattr(main, "SystemClock", lambda: ManualClock(NOW_S))
    monkeypatch.setattr(explain, "ask", asked)
    return deployment(tmp_path)


def document(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def text(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_moved_prefix_as_one_document(config: str) -> None:
    told = document("explain", "20.0.0.9", "--config", config)
    assert (told["pop"], told["as_of"], told["decided_by"]) == (POP, "7.2", "7.1")
    assert (told["prefix"]["status"], told["prefix"]["prefix"]) == ("moved", PREFIX)
    assert [(one["router"], one["action"]) for one in told["actuations"]] == [("r1", "announced"), ("r1", "confirmed")]


def test_a_moved_prefix_for_people(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = text("explain", PREFIX, "--config", config)
    for words in (
        f"{PREFIX} of rhv1000 is moved: {FULL} natural 112% of capacity",
        "demand: 4.00 Gb/s ± 400 Mb/s (430 samples); ± is the sampling error at 95 % confidence",
        f"by decision 7.1 to {FREE}, next hop 198.51.100.2, on r1, r2",
        "confirmed by all these routers: not yet not released yet: in force for 10 s; it stays for at least 300 s",
        "copied path: AS path 64602 65010, origin igp, MED 10",
        "drained",
        "12.0 Gb/s",
        "confirmed",
    ):
        assert words in shown


async def test_a_decision_of_another_pop_is_passed_over(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may stand in the topic of this one, if somebody wrote it there."""
    stray = msgspec.structs.replace(DECISIONS[-1], pop="fra1000")
    monkeypatch.setitem(TOPICS, "decisions-rhv1000", [*DECISIONS, stray])
    assert await show.latest_decisions(load(Path(config)), None) == [DECISIONS[-1]]


def test_a_moved_prefix_says_that_its_routes_are_gone_meanwhile(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [
        msgspec.structs.replace(act("withdrawn", router, PREFIX, T0 + 25), reason="source-path-lost")
        for router in ("r1", "r2")
    ]
    words = "the actuator has withdrawn its routes since, and not announced them again: source-path-lost"
    monkeypatch.setitem(TOPICS, "actuations", [*ACTUATIONS, *gone[:1]])
    assert words not in text("explain", PREFIX, "--config", config), "r2 still has its route"
    monkeypatch.setitem(TOPICS, "actuations", [*ACTUATIONS, *gone])
    assert words in text("explain", PREFIX, "--config", config)


def test_nothing_to_show_is_said(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOPICS, "decisions-rhv1000", [])
    shown = text("congestion", "--config", config)
    assert shown.endswith("No decision was made in the last hour, so whether there is congestion is not known.")
    assert "rhv1000: No window was seen yet. Is telemetry running, and do flows arrive?" in shown
    monkeypatch.setitem(TOPICS, "decisions-rhv1000", [decided(1)])
    assert text("congestion", "--config", config).endswith("No congestion in the last hour.")


def test_congestion_that_no_decision_speaks_of_any_more_is_dated(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(TOPICS, "decisions-rhv1000", DECISIONS[:2])
    assert "│ open │" in text("congestion", "--config", config)
    for later_s in (100, 5000):
        monkeypatch.setattr(main, "SystemClock", lambda later_s=later_s: ManualClock(NOW_S + later_s))
        shown = text("congestion", "--config", config)
        assert f"│ open at {utc(T0 + 20):%Y-%m-%d %H:%M:%S} │" in shown
        assert f"{FULL} │ {utc(T0):%Y-%m-%d %H:%M:%S}" in shown


def test_an_override_is_not_explained_without_a_word_of_a_dead_actuator(config: str) -> None:
    words = "rhv1000: The actuator was not heard: decisions are not carried out"
    assert words in text("explain", PREFIX, "--config", config)
    told = document("explain", PREFIX, "--config", config)
    assert [notice["kind"] for notice in told["notices"]] == ["telemetry-silent", "actuator-silent"]
    assert told["halted"] is None


def test_a_worker_explains_without_a_broker(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object) -> frozenset[str]:
        raise DaemonError("broker 127.0.0.1:1: no connection")

    monkeypatch.setattr(situation, "silent_topics", nobody)
    shown = text("explain", PREFIX, "--config", config)
    assert "What else is wrong is not known: broker 127.0.0.1:1: no connection" in shown
    assert f"{PREFIX} of rhv1000 is moved" in shown


def test_every_link_of_the_inventory_has_a_row(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    rows = document("links", "--config", config)
    assert [row["link"] for row in rows] == list(load(Path(config)).pops[POP].links)
    assert {row["link"]: row["carried_bps"] for row in rows}[FREE] is None
    assert f"│ {FREE} │ no window │ unknown" in text("links", "--config", config)


def test_the_latest_decision_and_one_by_its_number(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    latest = document("explain", "latest", "--config", config)
    assert latest["decision"]["seq"] == 3
    assert latest["released_bps"] == {PREFIX: 4e9}
    shown = text("explain", "7.2", "--config", config)
    assert "decision 7.2 of rhv1000, mode auto" in shown
    assert "overrides: 1, released: 0, refused: 1" in shown
    for words in ("120.0%", "20.0.1.0/24", "3.00 Gb/s", "no-room"):
        assert words in shown


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("9.9.9.9", "no router of rhv1000 holds a route for 9.9.9.9"),
        ("r1/et-9", f"{POP} has no such link; its links: {FULL}, {FREE}"),
        ("7.99", "has no decision 7.99; the newest are 7.2 to 7.3"),
        ("8.1", "has no decision 8.1; the newest are 7.1 to 7.3"),
    ],
)
def test_what_is_unknown_is_a_usage_error_that_names_the_known(config: str, target: str, says: str) -> None:
    result = run("explain", target, "--config", config)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_link_is_asked_for_by_its_short_name(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    result = desk.decide({LINK_A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}})
    assert desk.plan is not None
    story = explain_link(desk.plan, LINK_A, result.state.links[LINK_A])

    async def asked(port: int, pop: str, of: str) -> Explained:
        assert of == FULL
        return Explained(pop=pop, as_of="7.2", window_end=utc(T0), link=story)

    monkeypatch.setattr(explain, "ask", asked)
    monkeypatch.setenv("COLUMNS", "200")
    shown = text("explain", "r1/et-0/0/1", "--config", config)
    for words in (
        f"{LINK_A} is congested since",
        "no traffic may be moved to it",
        "natural │ 95.0 Gb/s │ 95.0%",
        "planned │ 80.0 Gb/s",
        "feed live; flows over counters 100%",
        "│ 80.0 Gb/s │ 5.24 Gb/s │",
        "40.1.0.0/16",
        "15.0 Gb/s",
    ):
        assert words in shown
    assert document("explain", FULL, "--config", config)["link"]["load"]["natural_bps"] == 95e9


def test_congestion_is_told_from_opening_to_closing(config: str) -> None:
    [of_pop] = document("congestion", "--config", config)
    [row] = of_pop["congestion"]
    assert (row["link"], row["natural_max"], row["dropped_max"], row["natural"]) == (FULL, 1.2, 0.08, 0.7)
    [still] = [one for one in show.episodes(DECISIONS[:2]) if one.until is None]
    assert (still.since, still.natural) == (utc(T0), 1.2)
    assert show.episodes(DECISIONS)[0].until == still.since + timedelta(seconds=30)
    assert "open" not in text("congestion", "--config", config)


def test_watch_shows_links_and_overrides_and_ends_well(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = msgspec.structs.replace(DECISIONS[1], seq=4)

    async def follow(kafka: Kafka, wanted: Mapping[str, int | None]) -> AsyncGenerator[Record, None]:
        assert wanted == {
            "decisions-rhv1000": 20,
            "link-utilization": 18,
            "control": None,
            "sources": 10,
            "actuator-status": 10,
            "actuations": ACTUATIONS_READ,
        }
        for topic, record in (("link-utilization", window(9.5e10, 1.12e11)), ("decisions-rhv1000", newer)):
            yield Record(topic, msgspec.json.encode(record))
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    class NobodyWrites:
        """Says at once that the collectors are silent."""

        def __init__(self, *arguments: Any) -> None:
            self._take = arguments[-1]

        async def run(self) -> None:
            self._take(frozenset({"sfacctd-flows-rhv1000"}))

    monkeypatch.setattr(watch, "SilenceWatch", NobodyWrites)
    monkeypatch.setattr(watch, "follow", follow)
    monkeypatch.setenv("COLUMNS", "200")
    shown = text("watch", "--config", config)
    assert "95.0%" in shown
    assert "rhv1000: No window was seen yet" not in shown, "this window is one"
    assert "sfacctd writes nothing to sfacctd-flows-rhv1000, so no window closes. Is it running?" in shown
    assert f"overrides: 1, released: 0, refused: 1; congested: {FULL}" in shown
    assert PREFIX in shown


async def test_the_worker_is_asked_over_http() -> None:
    told = Explained(pop=POP, as_of="7.2", window_end=utc(T0), prefix=STORY)

    def answer(pop: str, of: str) -> object:
        if of != PREFIX:
            raise LookupError(f"{pop} does not know {of}")
        return told

    async with TestServer(make_web({}, {"explain": answer})) as server:
        assert await ask(str(server.make_url("")), POP, PREFIX) == told
        with pytest.raises(ConfigError, match="rhv1000 does not know ::1%2"):
            await ask(str(server.make_url("")), POP, "::1%2")
    with pytest.raises(DaemonError, match="does it run on this host"):
        await ask(f"http://127.0.0.1:{free_port()}", POP, PREFIX)
