"""Who asks: a proxy in front of the view may say so, if it comes from its address and knows the secret.

The view itself knows nobody. Whoever else sends such a header says nothing with it.
"""

import hmac
import logging
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app.config import forms
from app.config.http_settings import Http
from app.logs import OFTEN

SECRET_HEADER = "X-Autopilot-Proxy-Secret"
FOR_MACHINES = ("/healthz", "/metrics")

log = logging.getLogger(__name__)


def behind_proxies(http: Http) -> Middleware:
    """Whom their proxies let in, and nobody else, sees the page; without proxies everybody does."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if http.proxies and request.remote not in http.proxies and request.path not in FOR_MACHINES:
            text = f"this page is behind a proxy: ask that, or write {request.remote} in http.proxies\n"
            raise web.HTTPForbidden(text=text)
        return await handler(request)

    return guard


def user(http: Http, request: web.Request) -> str | None:
    """The name that a trusted proxy gives; None without one."""
    names, secrets = request.headers.getall(http.user_header, []), request.headers.getall(SECRET_HEADER, [])
    if request.remote not in http.proxies or len(names) != 1 or len(secrets) != 1:
        return None  # of two names, one may be that of a client whose header the proxy did not replace
    try:
        secret = Path(http.proxy_secret_file or "").read_bytes().strip()
    except OSError as error:
        log.error("http.proxy_secret_file: %s cannot be read: %s", http.proxy_secret_file, error.strerror, extra=OFTEN)
        return None
    if not secret or not hmac.compare_digest(secrets[0].encode(errors="surrogateescape"), secret):
        log.warning("http: %s sends another secret than that in http.proxy_secret_file", request.remote, extra=OFTEN)
        return None
    try:
        return forms.text(names[0])
    except ValueError:
        return None
