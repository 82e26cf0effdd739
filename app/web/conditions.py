"""What is wrong with a PoP at a moment: telemetry's notices, and parts of it that were not heard.

The page and the command line show the same. Texts name times, not ages, so that they change only when something does.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from math import inf
from typing import Literal, NamedTuple

import msgspec

from app.clock import utc
from app.config.inventory import Pop, Router
from app.contract import topics
from app.contract.schemas import ActuatorStatus, Mode, Notice, RouterHeard, Sources

QUIET_WINDOWS = 3  # a window is published about 5 s after it ends: with three missing, nothing is published any more
ACTUATOR_QUIET_S = 20.0  # a sign of life comes every 5 s
FLOWS_QUIET_S = 300.0  # a small network may send a sample a minute
COUNTERS_QUIET_S = 60.0
CLOCK_WRONG_S = 5.0
REFUSED_SHOWN_S = 3600.0

State = Literal["up", "down", "unknown"]


class Component(msgspec.Struct, frozen=True):
    """A part that a PoP needs, when it was last heard (None: never, or not known), and whether it works.

    `router` is None for the parts that a PoP has only one of.
    """

    name: str
    router: str | None
    state: State
    at: datetime | None = None


class Seen(NamedTuple):
    """What is known of a PoP at `now_s`, Unix seconds. What was never seen is None.

    `mode` is that of the newest decision, `window_end_s` the end of the newest window, and `silent` the topics that
    nobody writes to, None while that is unknown.
    """

    now_s: float
    window_s: int
    sources: Sources | None = None
    status: ActuatorStatus | None = None
    mode: Mode | None = None
    window_end_s: float | None = None
    silent: Collection[str] | None = None


def notices(pop: Pop, seen: Seen) -> tuple[Notice, ...]:
    """Everything that people should know now: what concerns the whole PoP first, then what telemetry reports."""
    reported = seen.sources.notices if seen.sources else ()
    known = {(notice.kind, notice.where) for notice in reported}
    missed = (
        *_processes(pop, seen),
        *_workers(pop, seen),
        *_switches(pop, seen),
        *_refusals(pop, seen),
        *_injectors(pop, seen),
        *_inputs(pop, seen),
    )
    return (*(notice for notice in missed if (notice.kind, notice.where) not in known), *reported)


def components(pop: Pop, seen: Seen) -> tuple[Component, ...]:
    """The state of every part, those of the whole PoP first."""
    telemetry_at = None if seen.window_end_s is None else utc(seen.window_end_s)
    status = seen.status
    parts = [
        Component("sfacctd", None, _collector(topics.FLOWS.for_pop(pop.name), seen)),
        Component("pmbmpd", None, _bmp_collector(pop, seen)),
        Component("telemetry", None, _telemetry(pop, seen), telemetry_at),
        Component("actuator", None, actuator_state(seen), status.at if status else None),
    ]
    for router in pop.router:
        heard = seen.sources.routers.get(router.name, RouterHeard()) if seen.sources else RouterHeard()
        parts += [
            Component("flows", router.name, _input(heard.flows, FLOWS_QUIET_S, pop, seen), heard.flows),
            Component("counters", router.name, _input(heard.counters, COUNTERS_QUIET_S, pop, seen), heard.counters),
            Component("BMP", router.name, _bmp(heard, pop, seen), heard.bmp),
            Component("injector", router.name, _injector(router.name, seen), status.at if status else None),
        ]
    return tuple(parts)


def sentence(pop: str, notice: Notice) -> str:
    """A notice as one line of text. Names of routers are those of their PoP."""
    where = notice.where if notice.where.startswith(pop) else f"{pop}: {notice.where}"
    return f"{where}: {notice.text}"


def clock_time(at: datetime) -> str:
    """A moment as text, with its date."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _telemetry(pop: Pop, seen: Seen) -> State:
    """Telemetry publishes every window. If sfacctd writes nothing no window closes, which is no sign of its death."""
    if seen.window_end_s is not None and not is_quiet(seen.window_end_s, seen.now_s, seen.window_s):
        return "up"
    writes_flows = _collector(topics.FLOWS.for_pop(pop.name), seen)
    if seen.window_end_s is None:
        return "down" if writes_flows == "up" else "unknown"
    return "unknown" if writes_flows == "down" else "down"


def is_quiet(window_end_s: float, now_s: float, window_s: int) -> bool:
    """Whether no window was published for so long, after the one that ended at `window_end_s`, that none comes."""
    return now_s - window_end_s > QUIET_WINDOWS * window_s


def actuator_state(seen: Seen) -> State:
    """Whether the actuator gives signs of life; in mode observe none is needed."""
    if seen.status is None:
        return "unknown" if seen.mode in (None, "observe") else "down"
    quiet_s = seen.now_s - seen.status.at.timestamp()
    return "up" if quiet_s <= ACTUATOR_QUIET_S else "down"


def _collector(topic: str, seen: Seen) -> State:
    if seen.silent is None:
        return "unknown"
    return "down" if topic in seen.silent else "up"


def _bmp_collector(pop: Pop, seen: Seen) -> State:
    """Without statistics reports a quiet network has nothing to say; with them every router becomes doubtful."""
    state = _collector(topics.BMP.for_pop(pop.name), seen)
    beating = [heard for heard in seen.sources.routers.values() if heard.bmp_statistics] if seen.sources else []
    return state if state == "up" or (beating and all(heard.doubtful for heard in beating)) else "unknown"


def _injector(router: str, seen: Seen) -> State:
    if seen.status is None or actuator_state(seen) != "up" or router not in seen.status.injectors:
        return "unknown"
    return "up" if seen.status.injectors[router].reachable else "down"


def _input(at: datetime | None, quiet_s: float, pop: Pop, seen: Seen) -> State:
    """Whether an input of a router comes, judged at the end of the newest window that telemetry published."""
    if seen.sources is None or _telemetry(pop, seen) != "up":
        return "unknown"
    end_s = seen.sources.window_start.timestamp() + seen.sources.window_s
    return "up" if at is not None and end_s - at.timestamp() <= quiet_s else "down"


def _bmp(heard: RouterHeard, pop: Pop, seen: Seen) -> State:
    """Telemetry judges how long a router may be silent: that depends on its statistics reports."""
    state = _input(heard.bmp, inf, pop, seen)
    return "down" if heard.doubtful and state == "up" else state


def _processes(pop: Pop, seen: Seen) -> Iterator[Notice]:
    name = pop.name
    flows, writes_flows = topics.FLOWS.for_pop(name), _collector(topics.FLOWS.for_pop(name), seen) != "down"
    quiet = ""
    if seen.window_end_s is None:
        quiet = "No window was seen yet. " if _telemetry(pop, seen) == "down" else ""
    elif is_quiet(seen.window_end_s, seen.now_s, seen.window_s):
        quiet = f"No window was published since the one that ended at {clock_time(utc(seen.window_end_s))}. "
    if not writes_flows:
        text = f"{quiet}sfacctd writes nothing to {flows}, so no window closes. Is it running?"
        yield Notice("flow-collector-silent", name, text)
    elif quiet:
        yield Notice("telemetry-silent", name, f"{quiet}Is telemetry running, and do flows arrive?")
    if _bmp_collector(pop, seen) == "down":
        text = f"pmbmpd writes nothing to {topics.BMP.for_pop(name)}, so the routes may be out of date. Is it running?"
        yield Notice("bmp-collector-silent", name, text)
    if actuator_state(seen) == "down":
        last = f"has not been heard since {clock_time(seen.status.at)}" if seen.status else "was not heard"
        text = f"The actuator {last}: decisions are not carried out, and nothing renews or withdraws overrides."
        yield Notice("actuator-silent", name, f"{text} Is `autopilot actuator` running?")


def _workers(pop: Pop, seen: Seen) -> Iterator[Notice]:
    """What telemetry and actuator say of themselves, while they are heard: their clocks and their configurations."""
    telemetry = seen.sources.worker if seen.sources and _telemetry(pop, seen) == "up" else None
    actuator = seen.status.worker if seen.status and actuator_state(seen) == "up" else None
    for name, worker in (("telemetry", telemetry), ("actuator", actuator)):
        ahead_s = worker.clock_ahead_s if worker else None
        if ahead_s is not None and abs(ahead_s) > CLOCK_WRONG_S:
            way = "ahead of" if ahead_s > 0 else "behind"
            text = (
                f"The clock of the host of {name} is {abs(ahead_s):.0f} s {way} the broker's. Set it by NTP (chrony)."
            )
            yield Notice("clock-wrong", pop.name, text)
    if telemetry and actuator and telemetry.config != actuator.config:
        text = f"Telemetry runs with configuration {telemetry.config}, the actuator with {actuator.config}."
        yield Notice("config-differs", pop.name, f"{text} Put the same files on both, and run `autopilot reload`.")


def _switches(pop: Pop, seen: Seen) -> Iterator[Notice]:
    """What keeps a living actuator from announcing, besides `autopilot halt`, which is shown with its author."""
    if seen.status is None or actuator_state(seen) != "up":
        return
    if "file" in seen.status.halted_by:
        text = "The halt file exists on the actuator's host: no override is announced until it is removed."
        yield Notice("halt-file", pop.name, text)
    ours = seen.status.mode
    if seen.mode is not None and seen.mode != ours and "auto" in (seen.mode, ours):
        text = f"Telemetry runs in mode {seen.mode}, the actuator in mode {ours}: nothing is announced."
        yield Notice("modes-differ", pop.name, f"{text} Set `mode` for both, and reload them (`autopilot reload`).")


def _refusals(pop: Pop, seen: Seen) -> Iterator[Notice]:
    """What a living actuator refused in the last hour because of signatures, one notice for each topic."""
    if seen.status is None or actuator_state(seen) != "up":
        return
    recent = [each for each in seen.status.refusals if seen.now_s - each.last.timestamp() < REFUSED_SHOWN_S]
    for topic in dict.fromkeys(each.topic for each in recent):
        of_topic = [each for each in recent if each.topic == topic]
        causes = ", ".join(f"{each.records} {each.cause}" for each in of_topic)
        last = clock_time(max(each.last for each in of_topic))
        text = f"The actuator refused records of {topic}, the last at {last}: {causes}. Who else writes there?"
        yield Notice("records-refused", pop.name, text)


def _injectors(pop: Pop, seen: Seen) -> Iterator[Notice]:
    if seen.status is None or seen.status.mode != "auto":
        return
    for router in pop.router:
        if _injector(router.name, seen) == "down":
            text = f"The gobgpd at {router.injector.grpc} does not answer the actuator: no override reaches the router."
            yield Notice("injector-silent", router.name, f"{text} Is it running?")


def _inputs(pop: Pop, seen: Seen) -> Iterator[Notice]:
    """Routers that are not heard. Where telemetry itself says so of a router and an input, that is enough."""
    if seen.sources is None or _telemetry(pop, seen) != "up":
        return
    said = [(notice.where, notice.kind) for notice in seen.sources.notices]
    all_quiet = _bmp_collector(pop, seen) == "down"
    for router in pop.router:
        heard = seen.sources.routers.get(router.name, RouterHeard())
        for word, state, words in (
            ("flows", _input(heard.flows, FLOWS_QUIET_S, pop, seen), _flows_text),
            ("counters", _input(heard.counters, COUNTERS_QUIET_S, pop, seen), _counters_text),
            ("bmp", "up" if all_quiet and heard.bmp else _bmp(heard, pop, seen), _bmp_text),
        ):
            if state == "down" and not any(where == router.name and word in kind for where, kind in said):
                yield Notice(f"{word}-silent", router.name, words(router, heard))


Words = Callable[[Router, RouterHeard], str]


def _flows_text(router: Router, heard: RouterHeard) -> str:
    if heard.flows is None:
        return (
            "No flow sample was ever seen. Does it send sFlow to sfacctd, and is its agent address"
            f" {router.agent_address} (agent_address)?"
        )
    return f"No flow sample came since {clock_time(heard.flows)}. Does it still send sFlow?"


def _counters_text(router: Router, heard: RouterHeard) -> str:
    if heard.counters is None:
        return (
            "No counter sample was ever seen. Does it send interface counters in sFlow, with agent address"
            f" {router.agent_address} (agent_address)?"
        )
    return f"No counter sample came since {clock_time(heard.counters)}. Does it still send sFlow counter samples?"


def _bmp_text(router: Router, heard: RouterHeard) -> str:
    if heard.bmp is None:
        return (
            "It was never heard over BMP. Does it send BMP to pmbmpd, and is its sysName"
            f" {router.bmp_sysname!r} (bmp_sysname)?"
        )
    return f"It was not heard over BMP since {clock_time(heard.bmp)}: its routes may be old. Is its BMP session up?"
