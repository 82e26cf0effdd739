"""`autopilot explain`: asks the telemetry worker why, and the topics what came of it."""

import re
from datetime import timedelta
from urllib.parse import quote

import aiohttp
import msgspec

from app.cli.show import chosen
from app.config.settings import Deployment
from app.contract import topics
from app.contract.schemas import Actuation, Decision
from app.errors import ConfigError, DaemonError
from app.kafka.read import read_topic
from app.te.explain.stories import Explained

DECISION = re.compile(r"latest|\d+\.\d+")
LOOK_BACK_MAX = 8640  # windows: a day, as long as decisions are kept
SLACK = 30  # repeats after a restart
ACTUATIONS_READ, ACTUATIONS_SHOWN = 20_000, 12
TIMEOUT_S = 10.0


class Answer(Explained, frozen=True, kw_only=True):
    """What the worker said; for an override, which decision (epoch.seq) made it and what the actuator did."""

    decided_by: str | None = None
    actuations: tuple[Actuation, ...] = ()


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `released_bps` is what the released ones carried in the decision before it."""

    pop: str
    decision: Decision
    released_bps: dict[str, float]


async def explain(deployment: Deployment, target: str, pop: str | None) -> Answer | DecisionAnswer:
    """Prefix, address, link or decision; ConfigError for an unknown one, DaemonError where nobody answers."""
    name = _pop_of(deployment, target, pop)
    if DECISION.fullmatch(target):
        return await _decision(deployment, name, target)
    told = await ask(deployment.settings.state_port, name, _asked(deployment, name, target))
    if told.prefix is None:
        return Answer(pop=told.pop, as_of=told.as_of, window_end=told.window_end, link=told.link)
    return Answer(
        pop=told.pop,
        as_of=told.as_of,
        window_end=told.window_end,
        prefix=told.prefix,
        decided_by=await _decided_by(deployment, told) if told.prefix.since else None,
        actuations=await _actuations(deployment, name, told.prefix.prefix),
    )


async def ask(port: int, pop: str, of: str) -> Explained:
    """The telemetry worker's own account; it answers on the loopback of its host."""
    url = f"http://127.0.0.1:{port}/state/explain/{pop}/{quote(of, safe='/:')}"
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            body = await answer.read()
            if answer.status == 404:
                raise ConfigError([msgspec.json.decode(body, type=dict[str, str])["error"]])
            answer.raise_for_status()
            return msgspec.json.decode(body, type=Explained)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
        where = f"the telemetry worker of {pop} does not answer on 127.0.0.1:{port} (state_port)"
        raise DaemonError(f"{where}: {error!r}; does it run on this host?") from error


def _pop_of(deployment: Deployment, target: str, pop: str | None) -> str:
    """The PoP asked for, the one of the link, or the only one."""
    named = target.partition("/")[0]
    names = chosen(deployment, pop or (named if named in deployment.pops else None))
    if len(names) > 1:
        raise ConfigError([f"which PoP? give --pop, one of: {', '.join(names)}"])
    return names[0]


def _asked(deployment: Deployment, pop: str, target: str) -> str:
    """What the worker is asked: a link id where a link is meant."""
    links = deployment.pops[pop].links
    if target in links or ":" in target or re.fullmatch(r"[\d.]+(/\d+)?", target):
        return target
    if (link := f"{pop}/{target}") in links:
        return link
    what = f"{target} is no prefix, address or decision (epoch.seq or latest), and {pop} has no such link"
    raise ConfigError([f"{what}; its links: {', '.join(links)}"])


async def _decisions(deployment: Deployment, pop: str, last: int) -> list[Decision]:
    records = await read_topic(deployment.settings.kafka, topics.DECISIONS.for_pop(pop), last=last)
    return [msgspec.json.decode(record.value, type=Decision) for record in records]


async def _decision(deployment: Deployment, pop: str, which: str) -> DecisionAnswer:
    found = await _decisions(deployment, pop, last=2)
    if not found:
        raise ConfigError([f"{pop}: nothing was decided yet"])
    wanted = number(found[-1]) if which == "latest" else which
    back = found[-1].seq - int(wanted.partition(".")[2])
    if back > 0:
        found = await _decisions(deployment, pop, last=min(back + SLACK, LOOK_BACK_MAX))
    at = next((index for index, one in enumerate(found) if number(one) == wanted), None)
    if at is None:
        known = f"from {number(found[0])} to {number(found[-1])}"
        raise ConfigError([f"{pop} has no decision {wanted}; known here: {known}"])
    before = {one.prefix: one.bps for one in found[at - 1].overrides} if at else {}
    released = {one.prefix: before[one.prefix] for one in found[at].released if one.prefix in before}
    return DecisionAnswer(pop=pop, decision=found[at], released_bps=released)


async def _decided_by(deployment: Deployment, told: Explained) -> str | None:
    """The decision on the window at whose end the override was made; None where the topic lost it."""
    assert told.prefix is not None
    assert told.prefix.since is not None
    length = timedelta(seconds=deployment.settings.windows.length_s)
    windows = (told.window_end - told.prefix.since) // length
    decisions = await _decisions(deployment, told.pop, last=min(windows + SLACK, LOOK_BACK_MAX))
    made = [number(one) for one in decisions if one.window_start + length == told.prefix.since]
    return made[-1] if made else None


async def _actuations(deployment: Deployment, pop: str, prefix: str) -> tuple[Actuation, ...]:
    records = await read_topic(deployment.settings.kafka, topics.ACTUATIONS.name, last=ACTUATIONS_READ)
    decoded = (msgspec.json.decode(record.value, type=Actuation) for record in records)
    return tuple([one for one in decoded if (one.pop, one.prefix) == (pop, prefix)][-ACTUATIONS_SHOWN:])


def number(decision: Decision) -> str:
    """epoch.seq, by which people name a decision."""
    return f"{decision.epoch}.{decision.seq}"
