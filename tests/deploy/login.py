"""Whether the view of the chart and the proxy beside it agree on whom they believe, and what the session is like."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from app.config.http_settings import Http
from app.web.users import SECRET_HEADER
from tests.deploy.chart import Item, by_name

VIEW_PORT = 6072
COOKIE = {
    "cookie-name": "__Host-autopilot",
    "cookie-samesite": "lax",
}  # Secure and HttpOnly are oauth2-proxy's defaults
REFRESH_S, EXPIRE_S = 60.0, 12 * 3600.0
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def login(items: Sequence[Item]) -> Iterator[str]:
    """What is wrong with it."""
    found = by_name(items)
    data = found["v1 ConfigMap", "autopilot-view"]["data"]
    http = msgspec.convert(tomllib.loads(data["autopilot.toml"])["http"], Http)
    proxy = msgspec.yaml.decode(data["oauth2-proxy.yaml"])
    [upstream] = proxy["upstreamConfig"]["upstreams"]
    way = urlsplit(upstream["uri"])
    if (way.hostname,) != http.proxies or way.port != VIEW_PORT:
        yield f"the proxy asks {way.netloc}, and the view believes {http.proxies}"
    believed: dict[str, Any] = {http.user_header: {"claimSource": {"claim": "email"}}}
    believed[SECRET_HEADER] = {"secretSource": {"fromFile": http.proxy_secret_file}}
    headers = {each["name"]: each for each in proxy["injectRequestHeaders"]}
    for name, value in believed.items():
        if headers.get(name) != {"name": name, "preserveRequestValue": False, "values": [value]}:
            yield f"{name} is not replaced by the proxy with what the view believes"
    [provider] = proxy["providers"]
    if not provider["allowedGroups"]:
        yield "every user of the provider is let in"
    yield from _session(found["apps/v1 Deployment", "autopilot-view"])


def _session(view: Mapping[str, Any]) -> Iterator[str]:
    pod = view["spec"]["template"]["spec"]
    given = dict(
        word.removeprefix("--").partition("=")[::2]
        for container in pod["containers"]
        if container["name"] == "oauth2-proxy"
        for word in container["args"]
    )
    yield from (f"--{name} is not {value}" for name, value in COOKIE.items() if given.get(name) != value)
    for name, longest_s in (("cookie-refresh", REFRESH_S), ("cookie-expire", EXPIRE_S)):
        if not 0 < _seconds(given.get(name, "0s")) <= longest_s:
            yield f"--{name} is {given.get(name)}, and may be {longest_s:g} s"
    opened = {"reverse-proxy", "cookie-secure", "cookie-httponly", "skip-auth-route", "skip-auth-regex", "trusted-ip"}
    yield from (f"--{name} is given" for name in sorted(opened & given.keys()))


def _seconds(text: str) -> float:
    return float(text[:-1]) * UNITS_S[text[-1]]
