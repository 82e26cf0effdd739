"""Mutual TLS with gobgpds over TCP: our certificate and their CA, from files that may change at any time."""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from app.config.endpoints import UNIX, is_local
from app.config.gobgp_settings import Gobgp
from app.config.tls_files import Reloading, UnusableFile
from app.errors import SpeakerError

SECURE_IT = (
    "write `gobgp.ca_file`, `cert_file` and `key_file`, and start gobgpd with --tls and --tls-client-ca-file; or use"
    " unix:///PATH, and run the actuator beside its gobgpds"
)


class Secured(NamedTuple):
    """What a connection needs: the files by key, and the same for Python's ssl."""

    contents: Mapping[str, bytes]
    context: ssl.SSLContext


class Tls:
    """What the connections of one process have in common; threads may share it."""

    def __init__(self, gobgp: Gobgp) -> None:
        self.files = gobgp.files
        self._reloaded = Reloading(self.files, self._secured)

    def current(self) -> Secured:
        """What the next connection uses, the same object until a file changes; SpeakerError if there is nothing yet."""
        try:
            return self._reloaded.current()
        except UnusableFile as error:
            raise SpeakerError(str(error)) from error

    def stranger(self) -> ssl.SSLContext:
        """The context of somebody who has no certificate."""
        return self._context({"ca_file": self.current().contents["ca_file"]})

    def _secured(self, contents: Mapping[str, bytes]) -> Secured:
        return Secured(contents, self._context(contents))

    def _context(self, contents: Mapping[str, bytes]) -> ssl.SSLContext:
        context = self.files.context(contents)
        context.set_alpn_protocols(["h2"])
        return context


_tls = cache(Tls)


def tls_to(target: str, gobgp: Gobgp) -> Tls | None:
    """How a connection to this gobgpd is secured; None for a unix socket, whose permissions do that, or by nothing."""
    return _tls(gobgp) if gobgp.cert_file is not None and not target.startswith(UNIX) else None


def is_exposed(target: str, gobgp: Gobgp) -> bool:
    """Whether whoever is on the way to this gobgpd could write there: it is on another host, and there is no TLS."""
    return not is_local(target) and tls_to(target, gobgp) is None
