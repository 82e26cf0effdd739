"""Composition root of `autopilot view`: a read model of the output topics behind a web page. No Faust, no state."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from functools import partial
from math import nan
from pathlib import Path
from typing import TypeVar

from app import metrics
from app.clock import Clock, SystemClock
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of
from app.contract.schemas import Actuation, ActuatorStatus, Decision, LinkUtilization, Sources
from app.contract.signing import Keyring
from app.errors import EnvironmentProblem
from app.kafka.follow import Take, TopicsReader
from app.kafka.orders import Orders
from app.kafka.silence import SilenceWatch, watched
from app.tasks import lasting
from app.web.documents import PopView
from app.web.hub import PAGES_MAX, Hub
from app.web.override_states import ACTUATIONS_READ
from app.web.pages import encode_update, make_site
from app.web.pop_model import HISTORY_S, PopModel
from app.web.server import HttpServer
from app.web.truth import TruthLine, TruthReader

T = TypeVar("T")
UPDATE_EVERY_S = 1.0
AHEAD_MAX_S = 3600.0
CONNECTIONS_MAX = 2 * PAGES_MAX  # half of them for the streams of open pages
UP = {"up": 1.0, "down": 0.0, "unknown": nan}

log = logging.getLogger(__name__)


class View:
    """The read models of every PoP of a deployment, the readers that feed them, and the pages that they update."""

    def __init__(self, deployment: Deployment, clock: Clock, truth: Path | None = None) -> None:
        settings = deployment.settings
        self._clock = clock
        self._hub = Hub()
        thresholds, names = settings.thresholds, list(deployment.pops)
        self._models = {
            name: PopModel(pop, settings.windows.length_s, thresholds.enter, names, thresholds.mismatch_max)
            for name, pop in deployment.pops.items()
        }
        self._trust = trust_of(settings.trust)
        self._orders = Orders(self._trust)
        self._silent: frozenset[str] | None = None
        # Orders and overrides may be older than the history of windows.
        last = {topics.CONTROL.name: None, topics.ACTUATIONS.name: ACTUATIONS_READ}
        self._reader = TopicsReader(settings.kafka, self._takes(), HISTORY_S, clock, last)
        self._silence = SilenceWatch(settings.kafka, watched(settings, names), clock, self._take_silent)
        self._truth = TruthReader(truth, self._take_truth) if truth else None
        metrics.VIEW_PAGES.set_function(lambda: self._hub.open_pages)
        for topic in self._reader.topics:
            metrics.UNREADABLE.labels(topic).set_function(partial(self.unreadable, topic))
        self.site = make_site(self._models, self._hub, clock, self.health, settings.http)
        self.http = settings.http

    def unreadable(self, topic: str) -> int:
        """How many records of a topic could not be used since the start."""
        return self._reader.unreadable.records[topic] + self._orders.unreadable.records[topic]

    def health(self) -> dict[str, object]:
        """The answer of `/healthz`: whether the history was read, and how many records of which topic were skipped."""
        skipped = {topic: count for topic in self._reader.topics if (count := self.unreadable(topic))}
        return {"ok": True, "caught_up": self._reader.caught_up, "unreadable_records": skipped}

    async def run(self) -> None:
        """Read the topics and update the open pages until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            truth = [self._truth.run] if self._truth else []
            for job in (self._reader.run, self._silence.run, self._update_pages, *truth):
                jobs.create_task(lasting(job))

    async def _update_pages(self) -> None:
        while True:
            for name, model in self._models.items():
                # Until the history was read, what was not seen yet is not missed.
                if self._silent is not None and self._reader.caught_up:
                    model.take_silent(self._silent)
                now_s = self._clock.now_s()
                self._hub.tell(name, encode_update(model.changes(now_s)))
                _measure(name, model.state(now_s))
            await asyncio.sleep(UPDATE_EVERY_S)

    def _takes(self) -> dict[str, Take]:
        def window(record: LinkUtilization) -> None:
            self._check_time(record.window_start.timestamp(), "window_start")
            if model := self._models.get(record.pop):
                model.take_window(record)

        def actuation(record: Actuation) -> None:
            self._check_time(record.at.timestamp(), "at")
            if model := self._models.get(record.pop):
                model.take_actuation(record, record.at.timestamp() >= self._clock.now_s() - HISTORY_S)

        def sources(record: Sources) -> None:
            self._check_time(record.window_start.timestamp(), "window_start")
            if model := self._models.get(record.pop):
                model.take_sources(record)

        def status(record: ActuatorStatus) -> None:
            self._check_time(record.at.timestamp(), "at")
            if model := self._models.get(record.pop):
                model.take_status(record)

        def decision(name: str, record: Decision) -> None:
            if record.pop != name:
                raise ValueError(f"a decision of {record.pop!r} in the topic of {name}")
            self._check_time(record.epoch, "epoch")
            self._models[name].take_decision(record)

        def order(key: bytes | None, value: bytes | None, at_s: float) -> None:
            self._orders.take(key, value, at_s)
            for name, model in self._models.items():
                model.take_halt(self._orders.halt(name))

        takes: dict[str, Take] = {
            topics.CONTROL.name: order,
            topics.LINK_UTILIZATION.name: _decoded(LinkUtilization, window),
            topics.ACTUATIONS.name: _decoded(Actuation, actuation),
            topics.SOURCES.name: _decoded(Sources, sources),
            topics.ACTUATOR_STATUS.name: _decoded(ActuatorStatus, status),
        }
        for name in self._models:
            topic = topics.DECISIONS.for_pop(name)
            takes[topic] = _decoded(Decision, partial(decision, name), (self._trust, topic))
        return takes

    def _check_time(self, at_s: float, name: str) -> None:
        """ValueError for a time of the future: what really comes until then would pass for old."""
        if at_s > self._clock.now_s() + AHEAD_MAX_S:
            raise ValueError(f"{name} is more than an hour ahead of this host's clock")

    def _take_silent(self, silent: frozenset[str]) -> None:
        self._silent = silent

    def _take_truth(self, line: TruthLine) -> None:
        if model := self._models.get(line.pop):
            for link, point in line.links.items():
                model.take_truth(link, point)


def _measure(pop: str, state: PopView) -> None:
    metrics.count_notices(pop, (notice.kind for notice in state.notices))
    for part in state.components:
        metrics.COMPONENT_UP.labels(pop, part.router or "", part.name).set(UP[part.state])


def main(deployment: Deployment, host: str, port: int, truth: Path | None) -> None:
    """Serve until a signal; EnvironmentProblem if the port cannot be opened."""
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(serve(View(deployment, SystemClock(), truth), host, port))


async def serve(view: View, host: str, port: int) -> None:
    """Serve until cancelled, which SIGTERM does; EnvironmentProblem if the port cannot be opened."""
    task = asyncio.current_task()
    assert task is not None, "runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    server = HttpServer(view.site, view.http, CONNECTIONS_MAX)
    try:
        try:
            await server.start(host, port)
        except OSError as error:
            raise EnvironmentProblem(f"{host}:{port}: {error.strerror}; choose another view_port") from error
        log.info("open http://%s:%d", host, port)
        await view.run()
    finally:
        await server.stop()


def _decoded(kind: type[T], take: Callable[[T], None], signed: tuple[Keyring, str] | None = None) -> Take:
    """What takes records of this kind; if they are `signed`, by whom that is trusted, and in which topic they stand."""
    read: Read[T] = reader_of(kind)

    def decode(key: bytes | None, value: bytes | None, at_s: float) -> None:
        if value is None:
            return
        if signed is None:
            record = read(value)
        else:
            trust, topic = signed
            record = trust.read(read, topic, key, value, at_s)
        if isinstance(record, Rejected):
            raise ValueError(record.reason)
        take(record)

    return decode
