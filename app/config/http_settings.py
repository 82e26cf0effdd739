"""Who may ask our HTTP servers, and whom the page takes somebody's word for."""

from collections.abc import Iterator

import msgspec

from app.config import forms
from app.config.toml import Problem, TomlTable


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where telemetry, actuator and view listen, who may ask them, and who is behind a proxy in front of the view."""

    listen: forms.Listen = "127.0.0.1"
    """IP address of this host that all three listen on; `0.0.0.0` or `::` for all of IPv4 or IPv6. Change: in a
    container, or if Prometheus or a proxy runs elsewhere. None of them asks for a login, so let a firewall or network
    policy say who may reach them.
    """
    allowed_hosts: tuple[forms.Host, ...] = ()
    """List of names, besides `localhost` and the address that a request comes to, that a request may ask for (`Host`);
    others get 421, because a web page elsewhere can point a name of its own at this host. Change: if people or probes
    use a name, for example that of a proxy.
    """
    proxies: tuple[forms.Address, ...] = ()
    """List of IP addresses. Only from there the view shows its page, and `user_header` counts with the secret of
    `proxy_secret_file`; others get 403, but for `/healthz` and `/metrics`. Empty: everybody sees the page. Change: if a
    proxy in front of the view knows who somebody is.
    """
    proxy_secret_file: forms.Text | None = None
    """File, relative to this one, that has nothing but the secret that the proxy sends as `X-Autopilot-Proxy-Secret`.
    It is read at each request, so it may change at any time.
    """
    user_header: forms.HeaderName = "X-Forwarded-User"
    """Header in which the proxy says who somebody is. It must replace what its clients send under this name."""


def rules(http: TomlTable) -> Iterator[Problem]:
    """A proxy is known by its address and its secret, never by one of them."""
    proxies, has_secret = http.given("proxies"), http.written("proxy_secret_file") is not None
    if proxies and not has_secret:
        text = "is missing; write a file with a secret there, or everybody on the proxy's host could say who they are"
        yield Problem(http.at("proxy_secret_file"), text)
    if has_secret and proxies is not None and not proxies:
        yield Problem(http.at("proxies"), "is empty; write the addresses that the proxy comes from")
