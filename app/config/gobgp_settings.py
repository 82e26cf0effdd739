"""How this host's processes reach gobgpds over TCP."""

from collections.abc import Iterator

import msgspec

from app.config import forms
from app.config.tls_files import TlsFiles
from app.config.toml import Problem, TomlTable

FILES = ("ca_file", "cert_file", "key_file")


class Gobgp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The certificate that the actuator and `check` show to gobgpds over TCP, and whose certificates they take.

    All three files or none. A gobgpd on a unix socket needs none: the permissions of the socket protect it. The files
    are looked at before each call, so a change of their content needs no restart.
    """

    ca_file: forms.Text | None = None
    """File, relative to this one: the CAs that may vouch for the gobgpds, in PEM."""
    cert_file: forms.Text | None = None
    """File, relative to this one: our certificate and what leads from it to its CA, in PEM. Change: needed if
    `injector.grpc` of a router is `HOST:PORT` and not on loopback.
    """
    key_file: forms.Text | None = None
    """File, relative to this one: the private key of `cert_file`, in PEM, without a passphrase."""

    @property
    def files(self) -> TlsFiles:
        """The files that are given."""
        paths = {key: path for key in FILES if (path := getattr(self, key)) is not None}
        return TlsFiles("gobgp", paths, "the gobgpds")


def rules(gobgp: TomlTable) -> Iterator[Problem]:
    """TLS that only one side proves itself in is none: anybody could write there."""
    missing = [key for key in FILES if gobgp.written(key) is None]
    if 0 < len(missing) < len(FILES):
        yield from (Problem(gobgp.at(key), f"is missing; mutual TLS needs {', '.join(FILES)}") for key in missing)
