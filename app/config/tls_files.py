"""The files of a TLS client: CAs, our certificate and its key. They may change at any time."""

import contextlib
import logging
import ssl
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from app.clock import utc
from app.errors import EnvironmentProblem
from app.logs import OFTEN

CERTIFICATE, PRIVATE_KEY, ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"
SECRETS = ("key_file", "password_file")
SOON_S = 7 * 86_400.0  # whatever renews certificates does so weeks before their end

T = TypeVar("T")
log = logging.getLogger(__name__)


class UnusableFile(EnvironmentProblem):
    """A file that the settings name cannot be used; the text names its key and its path, and says what to do."""


class MissingFile(UnusableFile):
    """A file that the settings name cannot be read here and now."""


class TlsFiles(NamedTuple):
    """The files that a table of the settings names, by key; `servers` are whom the CAs in `ca_file` vouch for."""

    table: str
    paths: Mapping[str, str]
    servers: str

    def name(self, key: str) -> str:
        """How a sentence about a file begins."""
        return f"{self.table}.{key}: {self.paths[key]}"

    def read(self) -> dict[str, bytes]:
        """The content of each file, by key; MissingFile if one cannot be read."""
        contents = {}
        for key, path in self.paths.items():
            try:
                contents[key] = Path(path).read_bytes()
            except OSError as error:
                reason = (error.strerror or "unknown reason").lower()
                text = f"{self.name(key)} cannot be read: {reason}; put it there, and let this user read it"
                raise MissingFile(text) from error
        return contents

    def context(self, contents: Mapping[str, bytes]) -> ssl.SSLContext:
        """A context that checks the server's certificate and its name, and presents ours if there is one.

        UnusableFile says what is wrong with which file.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if "ca_file" in contents:
            try:
                context.load_verify_locations(cadata=contents["ca_file"].decode("ascii", "ignore"))
            except (ssl.SSLError, ValueError) as error:
                text = f"has no certificate in PEM; write the CA of {self.servers} there"
                raise UnusableFile(f"{self.name('ca_file')} {text}") from error
        else:
            context.load_default_certs()
        if "cert_file" in contents:
            self._present(context, contents)
        return context

    def _present(self, context: ssl.SSLContext, contents: Mapping[str, bytes]) -> None:
        cert, key = self.name("cert_file"), self.name("key_file")
        if CERTIFICATE not in contents["cert_file"]:
            raise UnusableFile(f"{cert} has no certificate in PEM; write ours there")
        if PRIVATE_KEY not in contents["key_file"]:
            raise UnusableFile(f"{key} has no private key in PEM; write that of {self.table}.cert_file there")
        if ENCRYPTED in contents["key_file"]:  # OpenSSL would ask for the passphrase at the terminal
            raise UnusableFile(f"{key} has a passphrase; take it off with `openssl pkey -in OLD -out NEW`")
        try:
            context.load_cert_chain(self.paths["cert_file"], self.paths["key_file"])
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                where = f"{self.table}.cert_file ({self.paths['cert_file']})"
                wrong = f"does not belong to the certificate in {where}; write the key of it"
                raise UnusableFile(f"{key} {wrong}") from error
            broken = cert if _is_broken(contents["cert_file"]) else key
            raise UnusableFile(f"{broken} is damaged ({error.reason or error}); copy it again") from error
        except OSError as error:  # it was there a moment ago
            raise MissingFile(f"{cert} or its key is being replaced") from error


class Reloading(Generic[T]):
    """What `make` makes of the files, and makes again whenever their content has changed; threads may share it.

    What cannot be used then, such as a new certificate whose key is not there yet, is logged, and what was made before
    stays in use.
    """

    def __init__(self, files: TlsFiles, make: Callable[[Mapping[str, bytes]], T]) -> None:
        self.files = files
        self._make = make
        self._last: tuple[Mapping[str, bytes], T] | None = None

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The files that are in use, by key."""
        return self._last[0] if self._last else {}

    def current(self) -> T:
        """What the next connection should use. UnusableFile if a file cannot be used and nothing was made before."""
        before = self._last
        try:
            contents = self.files.read()
            if before is None or contents != before[0]:
                self._last = contents, self._make(contents)
        except UnusableFile as error:
            if before is None:
                raise
            log.error("%s; what was loaded before stays in use", error, extra=OFTEN)
        else:
            if before is not None and self._last is not before:
                changed = ", ".join(key for key in contents if contents[key] != before[0][key])
                log.warning("%s: %s changed; new connections use what is there now", self.files.table, changed)
        assert self._last is not None, "`make` raises"
        return self._last[1]


def problems(files: TlsFiles, make: Callable[[Mapping[str, bytes]], object], now_s: float, offline: bool) -> list[str]:
    """What is wrong with the files, or will be soon. Offline, they may be another host's, so they may be missing."""
    found = open_secrets({files.name(key): path for key, path in files.paths.items() if key in SECRETS})
    try:
        make(contents := files.read())
    except UnusableFile as error:
        return found if offline and isinstance(error, MissingFile) else [*found, str(error)]
    ours = certificate(contents["cert_file"]) if "cert_file" in contents else None
    if ours is not None and ours.ends_s <= now_s + SOON_S:
        verb = "expired" if ours.ends_s <= now_s else "expires"
        found.append(f"{files.name('cert_file')} {verb} at {utc(ours.ends_s)}; renew it, no restart is needed")
    return found


def open_secrets(paths: Mapping[str, str]) -> list[str]:
    """Which of these files, by how a sentence about each begins, every user of this host can read or change."""
    found = []
    for name, path in paths.items():
        with contextlib.suppress(OSError):
            if Path(path).stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                found.append(f"{name} can be read or changed by every user of this host; use `chmod o-rw {path}`")
    return found


class Certificate(NamedTuple):
    """What people should know of a certificate: its name, who signed it, and the Unix times between which it holds."""

    subject: str
    issuer: str
    begins_s: float
    ends_s: float


def certificate(pem: bytes) -> Certificate:
    """The first certificate of a PEM file, which is the owner's; ValueError if it has none."""
    from cryptography import x509  # slow to import, and seldom needed

    first = x509.load_pem_x509_certificates(pem)[0]
    begins, ends = first.not_valid_before_utc.timestamp(), first.not_valid_after_utc.timestamp()
    return Certificate(first.subject.rfc4514_string(), first.issuer.rfc4514_string(), begins, ends)


def _is_broken(pem: bytes) -> bool:
    try:
        certificate(pem)
    except ValueError:
        return True
    return False
