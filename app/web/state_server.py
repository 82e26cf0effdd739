"""The read-only state of one worker on loopback: `/state/NAME` and answers as JSON, probes, `/metrics`.

The probes are `/healthz` (any answer shows that the event loop runs; 503: end the worker and start it again) and, if
the worker has one, `/readyz` (503 while it recovers or is behind, which is no reason to end it).
All of it is served from the agents' memory, never from an iterator over RocksDB.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping

import mode
import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.config.http_settings import Http
from app.web.server import HttpServer

HOST = "127.0.0.1"
RETRY_S = 10.0

log = logging.getLogger(__name__)
Views = Mapping[str, Callable[[], object]]
Answers = Mapping[str, Callable[[str, str], object]]  # by name; called with (pop, target), LookupError if unknown
Probes = Mapping[str, Callable[[], tuple[bool, object]]]  # by path: whether all is well, and the document to return


class StateServer(mode.Service):
    """The HTTP server of a worker; it starts before the Faust app, so that it answers during recovery.

    `port_key` is the settings key of its port. A worker whose port is taken works without being seen, and tries again.
    """

    def __init__(
        self,
        views: Views,
        http: Http,
        port: int,
        port_key: str,
        answers: Answers | None = None,
        probes: Probes | None = None,
    ) -> None:
        super().__init__()
        self._server = HttpServer(make_web(views, answers or {}, probes), http)
        self._port, self._port_key = port, port_key
        self._listens = False

    async def on_start(self) -> None:
        """Start to listen, on loopback only."""
        try:
            await self._listen()
        except OSError as error:
            log.warning(
                "%s: %s:%d cannot be opened: %s; this worker runs without /metrics and /healthz until it can. Another"
                " worker on this host needs a settings file with another %s",
                self._port_key,
                HOST,
                self._port,
                error.strerror or error,
                self._port_key,
            )

    async def _listen(self) -> None:
        await self._server.start(HOST, self._port)
        self._listens = True

    @mode.Service.task
    async def _try_again(self) -> None:
        while not self._listens:
            await self.sleep(RETRY_S)
            with contextlib.suppress(OSError):
                await self._listen()
                log.info("%s: listens on %s:%d now", self._port_key, HOST, self._port)

    async def on_stop(self) -> None:
        """Stop listening."""
        await self._server.stop()


def make_web(views: Views, answers: Answers, probes: Probes | None = None) -> web.Application:
    """Return the web application: views at `/state/NAME`, answers at `/state/NAME/POP/TARGET`, probes, `/metrics`."""
    probes = {"/healthz": lambda: (True, {"ok": True})} | dict(probes or {})

    async def state(request: web.Request) -> web.Response:
        view = views.get(request.match_info["name"])
        if view is None:
            return web.json_response({"error": f"no such state; known: {', '.join(views)}"}, status=404)
        return web.Response(body=msgspec.json.encode(view()), content_type="application/json")

    async def answer(request: web.Request) -> web.Response:
        answer_to = answers.get(request.match_info["name"])
        if answer_to is None:
            return web.json_response({"error": f"no such answer; known: {', '.join(answers)}"}, status=404)
        try:
            document = answer_to(request.match_info["pop"], request.match_info["target"])
        except (KeyError, IndexError):
            raise  # a bug, not an unknown target
        except LookupError as error:
            return web.json_response({"error": str(error)}, status=404)
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")

    async def probe(request: web.Request) -> web.Response:
        well, document = probes[request.path]()
        return web.json_response(document, status=200 if well else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/state/{name}", state)
    app.router.add_get("/state/{name}/{pop}/{target:.+}", answer)
    for path in probes:
        app.router.add_get(path, probe)
    app.router.add_get("/metrics", metrics)
    return app
