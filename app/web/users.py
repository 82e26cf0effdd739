"""Who asks: a proxy in front of the view may say so, if it comes from its address and knows the secret.

The view itself knows nobody. Whoever else sends such a header says nothing with it.
"""

import hmac
import logging
from pathlib import Path

from aiohttp import web

from app.config import forms
from app.config.http_settings import Http
from app.logs import OFTEN

SECRET_HEADER = "X-Autopilot-Proxy-Secret"

log = logging.getLogger(__name__)


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
