"""The HTTP routes of the web view: one page, its JSON API and its stream of updates. All are read-only."""

import asyncio
import contextlib
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.clock import Clock
from app.config.http_settings import Http
from app.web.documents import Update
from app.web.hub import Hub
from app.web.pop_model import PopModel
from app.web.users import behind_proxies, user

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC = Path(__file__).parent / "static"
SEND_WITHIN_S = 30.0
STREAM_S = 900.0  # then the page opens another, and a proxy that knows its user by now no more refuses it
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def encode_update(update: Update) -> bytes:
    """Encode an update as one message of the stream (server-sent events)."""
    return b"data: " + msgspec.json.encode(update) + b"\n\n"


def make_site(
    models: Mapping[str, PopModel],
    hub: Hub,
    clock: Clock,
    health: Callable[[], object],
    http: Http,
) -> web.Application:
    """Return the web application over the read models of one or more PoPs; without `?pop=` the first is shown."""

    def model_of(request: web.Request) -> PopModel:
        name = request.query.get("pop") or next(iter(models))
        if name not in models:
            raise web.HTTPNotFound(text=f"no PoP of this name; known: {', '.join(models)}")
        return models[name]

    async def pop(request: web.Request) -> web.Response:
        return _json(model_of(request).state(clock.now_s()))

    async def links(request: web.Request) -> web.Response:
        return _json(model_of(request).links(clock.now_s()))

    async def overrides(request: web.Request) -> web.Response:
        return _json(model_of(request).overrides())

    async def decisions(request: web.Request) -> web.Response:
        return _json(model_of(request).decisions())

    async def events(request: web.Request) -> web.StreamResponse:
        model = model_of(request)
        if hub.full:
            raise web.HTTPServiceUnavailable(text="too many open pages")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

        def snapshot() -> bytes:
            return encode_update(model.snapshot(clock.now_s()))

        # A page that went away or no longer reads connects again by itself.
        with hub.page(model.pop.name, snapshot) as page, contextlib.suppress(ConnectionError, TimeoutError):
            await response.prepare(request)
            async with asyncio.timeout(STREAM_S):
                async for update in page.updates():
                    await asyncio.wait_for(response.write(update), SEND_WITHIN_S)
        return response

    async def whoami(request: web.Request) -> web.Response:
        return _json({"user": user(http, request)})

    async def healthz(_: web.Request) -> web.Response:
        return _json(health())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def close_pages(_: web.Application) -> None:
        hub.close()

    site = web.Application(middlewares=[behind_proxies(http)])
    site.on_response_prepare.append(_harden)
    site.on_shutdown.append(close_pages)
    api = {"/api/pop": pop, "/api/links": links, "/api/overrides": overrides, "/api/decisions": decisions}
    pages = {**api, "/api/user": whoami, "/healthz": healthz, "/metrics": metrics, "/events": events}
    for path, handler in (pages | _files()).items():
        site.router.add_get(path, handler)
    return site


def _files() -> dict[str, Handler]:
    """The page and what it loads, by path.

    Not aiohttp's own static files: they look up the real path of the folder, and the demo runs as a user who must not
    see it if the checkout is in somebody else's home. Nor its file responses, which our server cannot send itself.
    """

    def file(path: Path) -> Handler:
        content, kind = path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"

        async def serve(_: web.Request) -> web.Response:
            return web.Response(body=content, content_type=kind)

        return serve

    loaded = {f"/static/{path.relative_to(STATIC)}": file(path) for path in STATIC.rglob("*") if path.is_file()}
    return loaded | {"/": file(STATIC / "index.html")}


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
