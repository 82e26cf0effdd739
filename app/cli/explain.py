"""`autopilot explain`: asks the telemetry worker for its reasons, and reads from the topics what followed."""

import re
from datetime import datetime, timedelta
from urllib.parse import quote

import aiohttp
import msgspec

from app.cli.show import chosen, decisions_of, read_actuation
from app.cli.situation import Situation, situation
from app.config.settings import Deployment
from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of
from app.contract.schemas import Actuation, Decision, Notice
from app.errors import ConfigError, DaemonError
from app.kafka.read import read_topic
from app.kafka.unreadable import decoded
from app.te.explain.stories import Explained
from app.web.override_states import ACTUATIONS_READ

DECISION = re.compile(r"latest|\d+\.\d+")
LOOK_BACK_MAX = 8640  # decisions: one a window for a day, as long as they are kept
SLACK = 30  # decisions that may be repeats after a restart
ACTUATIONS_SHOWN = 12
TIMEOUT_S = 10.0


class Unknown(msgspec.Struct, frozen=True):
    """The worker's answer about something that it does not know."""

    error: str


_read_unknown: Read[Unknown] = reader_of(Unknown)
_read_explained: Read[Explained] = reader_of(Explained)


class Answer(Explained, frozen=True, kw_only=True):
    """The worker's explanation; for an override also the decision that made it (epoch.seq) and the actuations."""

    decided_by: str | None = None
    actuations: tuple[Actuation, ...] = ()


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One decision; `released_bps` is the load of each released prefix in the decision before it."""

    pop: str
    decision: Decision
    released_bps: dict[str, float]


async def explain(deployment: Deployment, target: str, pop: str | None) -> Answer | DecisionAnswer:
    """Explain a prefix, address, link or decision; ConfigError if it is unknown, DaemonError if nothing answers."""
    name = _pop_of(deployment, target, pop)
    if DECISION.fullmatch(target):
        return await _decision(deployment, name, target)
    explained = await ask(
        deployment.settings.url(deployment.settings.state_port), name, _full_name(deployment, name, target)
    )
    if explained.prefix is None:
        return Answer(pop=explained.pop, as_of=explained.as_of, window_end=explained.window_end, link=explained.link)
    return Answer(
        pop=explained.pop,
        as_of=explained.as_of,
        window_end=explained.window_end,
        prefix=explained.prefix,
        decided_by=await _decided_by(deployment, explained) if explained.prefix.since else None,
        actuations=await _actuations(deployment, name, explained.prefix.prefix),
    )


async def explain_now(
    deployment: Deployment, target: str, pop: str | None, now_s: float
) -> tuple[Answer | DecisionAnswer, Situation]:
    """Explain as `explain` does, and say what halts that PoP and is wrong with it.

    A worker answers without a broker, too; what keeps the rest from being known then is a notice.
    """
    answer = await explain(deployment, target, pop)
    try:
        return answer, await situation(deployment, answer.pop, now_s)
    except DaemonError as error:
        unknown = Notice("broker-silent", answer.pop, f"What else is wrong is not known: {error}")
        return answer, Situation({}, {}, {answer.pop: (unknown,)})


def document(answer: Answer | DecisionAnswer, now: Situation) -> dict[str, object]:
    """The answer with what halts its PoP (`halted`), and its notices."""
    of_pop = {"halted": now.halts.get(answer.pop), "notices": now.notices[answer.pop]}
    return {**msgspec.structs.asdict(answer), **of_pop}


async def ask(worker: str, pop: str, target: str) -> Explained:
    """Ask the telemetry worker that answers at this URL about a prefix, address or link.

    ConfigError if the worker does not know it, DaemonError if no worker answers.
    """
    url = f"{worker}/state/explain/{pop}/{quote(target, safe='/:')}"
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            body = await answer.read()
            if answer.status == 404 and not isinstance(unknown := _read_unknown(body), Rejected):
                raise ConfigError([unknown.error])
            answer.raise_for_status()
            if isinstance(explained := _read_explained(body), Rejected):
                raise ValueError(explained.reason)
            return explained
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        who = f"the telemetry worker of {pop} does not answer at {worker} (state_port)"
        raise DaemonError(f"{who}: {_meaning(error)}; does it run on this host?") from error


def _meaning(error: Exception) -> str:
    """What an error of the HTTP client means; its own text names objects of the library."""
    match error:
        case aiohttp.ClientConnectorError():
            return "no connection"
        case aiohttp.ClientResponseError():
            return f"status {error.status}"
        case TimeoutError():
            return f"no answer within {TIMEOUT_S:g} s"
        case ValueError():
            return f"its answer cannot be read ({error})"
        case _:
            return f"the connection failed ({type(error).__name__})"


def _pop_of(deployment: Deployment, target: str, pop: str | None) -> str:
    """Return the PoP asked for, that of the link, or the only one; ConfigError if this leaves several."""
    first_part = target.partition("/")[0]
    names = chosen(deployment, pop or (first_part if first_part in deployment.pops else None))
    if len(names) > 1:
        raise ConfigError([f"which PoP? Name one with --pop: {', '.join(names)}"])
    return names[0]


def _full_name(deployment: Deployment, pop: str, target: str) -> str:
    """Return the target as the worker knows it, with the PoP in front of a link; ConfigError for an unknown link."""
    links = deployment.pops[pop].links
    if target in links or ":" in target or re.fullmatch(r"[\d.]+(/\d+)?", target):
        return target
    if (link := f"{pop}/{target}") in links:
        return link
    problem = f"{target} is not a prefix, an address or a decision (EPOCH.SEQ or latest), and {pop} has no such link"
    raise ConfigError([f"{problem}; its links: {', '.join(links)}"])


async def _decision(deployment: Deployment, pop: str, which: str) -> DecisionAnswer:
    decisions = await decisions_of(deployment, pop, last=2)
    if not decisions:
        raise ConfigError([f"{pop} has no decision yet"])
    wanted = number(decisions[-1]) if which == "latest" else which
    back = decisions[-1].seq - int(wanted.partition(".")[2])
    if back > 0:
        decisions = await decisions_of(deployment, pop, last=min(back + SLACK, LOOK_BACK_MAX))
    at = next((index for index, decision in enumerate(decisions) if number(decision) == wanted), None)
    if at is None:
        newest = f"{number(decisions[0])} to {number(decisions[-1])}"
        raise ConfigError([f"{pop} has no decision {wanted}; the newest are {newest}"])
    decision = decisions[at]
    before = {override.prefix: override.bps for override in decisions[at - 1].overrides} if at else {}
    released = [release.prefix for release in decision.released if release.prefix in before]
    return DecisionAnswer(pop=pop, decision=decision, released_bps={prefix: before[prefix] for prefix in released})


async def _decided_by(deployment: Deployment, explained: Explained) -> str | None:
    """Return the decision on the window at whose end the override was made; None if the topic no longer has it."""
    assert explained.prefix is not None
    since = explained.prefix.since
    assert since is not None
    length = timedelta(seconds=deployment.settings.windows.length_s)
    windows = (explained.window_end - since) // length
    decisions = await decisions_of(deployment, explained.pop, last=min(windows + SLACK, LOOK_BACK_MAX))
    numbers = [number(decision) for decision in decisions if _end(decision, length) == since]
    return numbers[-1] if numbers else None


def _end(decision: Decision, usual: timedelta) -> datetime:
    """The end of the window that was decided on; a record that does not say the length is of a `usual` window."""
    return decision.window_start + (usual if decision.window_s is None else timedelta(seconds=decision.window_s))


async def _actuations(deployment: Deployment, pop: str, prefix: str) -> tuple[Actuation, ...]:
    records = await read_topic(deployment.settings.kafka, topics.ACTUATIONS.name, last=ACTUATIONS_READ)
    actuations = (actuation for _, actuation in decoded(records, read_actuation))
    matching = [actuation for actuation in actuations if (actuation.pop, actuation.prefix) == (pop, prefix)]
    return tuple(matching[-ACTUATIONS_SHOWN:])


def number(decision: Decision) -> str:
    """Return EPOCH.SEQ, the name of a decision."""
    return f"{decision.epoch}.{decision.seq}"
