"""What we present to the broker, and whom we take for it: the files that `[kafka]` names.

They are read before each new connection, and loaded again if their content has changed: certificates, CAs and passwords
rotate without a restart. What cannot be used then, such as a new certificate whose key is not there yet, is logged, and
what was loaded before stays in use.
"""

import logging
import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError

from app.clock import utc
from app.config.settings import FILES_OF_KAFKA, Kafka
from app.logs import OFTEN

CERTIFICATE, PRIVATE_KEY, ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"
SOON_S = 7 * 86_400.0  # whatever renews certificates does so weeks before their end

log = logging.getLogger(__name__)


class Unusable(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """A file that `[kafka]` names cannot be used; the text names its key and its path, and says what to do."""

    def __init__(self, kafka: Kafka, key: str, problem: str) -> None:
        super().__init__(f"kafka.{key}: {getattr(kafka, key)} {problem}")

    def __str__(self) -> str:
        return str(self.args[0])


class NotThere(Unusable):
    """A file that `[kafka]` names cannot be read here and now."""


class Loaded(NamedTuple):
    """The files by key as they were, and what became of them."""

    files: Mapping[str, bytes]
    context: ssl.SSLContext | None
    password: str | None


class Certificate(NamedTuple):
    """What people should know of a certificate: its name, who signed it, and the Unix times between which it holds."""

    subject: str
    issuer: str
    begins_s: float
    ends_s: float


class Credentials:
    """What the clients of one process have in common; threads may share it.

    `refusals` says by (host, port) why our last connection there failed, if the broker or its certificate was at fault.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.refusals: dict[tuple[str, int], str] = {}
        self._loaded: Loaded | None = None

    def current(self) -> Loaded:
        """What the next connection should use. Unusable if a file cannot be used and nothing was loaded before."""
        before = self._loaded
        try:
            files = read(self.kafka)
            if before is None or files != before.files:
                self._loaded = load(self.kafka, files)
        except Unusable as error:
            if before is None:
                raise
            log.error("%s; what was loaded before stays in use", error, extra=OFTEN)
        else:
            if before is not None and self._loaded is not before:
                changed = ", ".join(key for key in files if files[key] != before.files[key])
                log.warning("kafka: %s changed; new connections use what is there now", changed)
        assert self._loaded is not None, "load raises"
        return self._loaded

    def certificate(self) -> Certificate | None:
        """Our own certificate as it was loaded last; None if we have none."""
        return certificate(self._loaded.files["cert_file"]) if self._loaded and self.kafka.cert_file else None


@cache
def credentials_of(kafka: Kafka) -> Credentials:
    """The credentials that all clients with these settings share."""
    return Credentials(kafka)


def read(kafka: Kafka) -> dict[str, bytes]:
    """The content of each file that the settings name, by key; NotThere if one cannot be read."""
    files = {}
    for key in FILES_OF_KAFKA:
        if (path := getattr(kafka, key)) is not None:
            try:
                files[key] = Path(path).read_bytes()
            except OSError as error:
                reason = (error.strerror or "unknown reason").lower()
                problem = f"cannot be read: {reason}; put it there, and let this user read it"
                raise NotThere(kafka, key, problem) from error
    return files


def load(kafka: Kafka, files: Mapping[str, bytes]) -> Loaded:
    """Make of the files what a connection needs; Unusable says what is wrong with which."""
    if kafka.security == "plaintext":
        return Loaded(files, None, None)
    return Loaded(files, _context(kafka, files), _password(kafka, files))


def problems(kafka: Kafka, now_s: float, offline: bool = False) -> list[str]:
    """What is wrong with the files, or will be soon. Offline, they may be another host's, so they may be missing."""
    try:
        loaded = load(kafka, read(kafka))
    except Unusable as error:
        return [] if offline and isinstance(error, NotThere) else [str(error)]
    ours = certificate(loaded.files["cert_file"]) if "cert_file" in loaded.files else None
    if ours is None or ours.ends_s > now_s + SOON_S:
        return []
    verb = "expired" if ours.ends_s <= now_s else "expires"
    return [f"kafka.cert_file: {kafka.cert_file} {verb} at {utc(ours.ends_s)}; renew it, no restart is needed"]


def certificate(pem: bytes) -> Certificate:
    """The first certificate of a PEM file, which is the owner's; ValueError if it has none."""
    from cryptography import x509  # slow to import, and seldom needed

    first = x509.load_pem_x509_certificates(pem)[0]
    begins, ends = first.not_valid_before_utc.timestamp(), first.not_valid_after_utc.timestamp()
    return Certificate(first.subject.rfc4514_string(), first.issuer.rfc4514_string(), begins, ends)


def _context(kafka: Kafka, files: Mapping[str, bytes]) -> ssl.SSLContext:
    """A context that checks the broker's certificate and its name, and presents ours if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ca_file" in files:
        try:
            context.load_verify_locations(cadata=files["ca_file"].decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError) as error:
            raise Unusable(kafka, "ca_file", "has no certificate in PEM; write the CA of the brokers there") from error
    else:
        context.load_default_certs()
    if "cert_file" in files:
        _present(context, kafka, files)
    return context


def _present(context: ssl.SSLContext, kafka: Kafka, files: Mapping[str, bytes]) -> None:
    if CERTIFICATE not in files["cert_file"]:
        raise Unusable(kafka, "cert_file", "has no certificate in PEM; write ours there")
    if PRIVATE_KEY not in files["key_file"]:
        raise Unusable(kafka, "key_file", "has no private key in PEM; write that of kafka.cert_file there")
    if ENCRYPTED in files["key_file"]:  # OpenSSL would ask for the passphrase at the terminal
        raise Unusable(kafka, "key_file", "has a passphrase; take it off with `openssl pkey -in OLD -out NEW`")
    paths: Any = kafka.cert_file, kafka.key_file
    try:
        context.load_cert_chain(*paths)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            wrong = f"does not belong to the certificate in kafka.cert_file ({kafka.cert_file}); write the key of it"
            raise Unusable(kafka, "key_file", wrong) from error
        key = "cert_file" if _is_broken(files["cert_file"]) else "key_file"
        raise Unusable(kafka, key, f"is damaged ({error.reason or error}); copy it again") from error
    except OSError as error:  # it was there a moment ago
        raise NotThere(kafka, "cert_file", "or its key is being replaced") from error


def _is_broken(pem: bytes) -> bool:
    try:
        certificate(pem)
    except ValueError:
        return True
    return False


def _password(kafka: Kafka, files: Mapping[str, bytes]) -> str | None:
    if "password_file" not in files:
        return None
    try:
        password = files["password_file"].decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unusable(kafka, "password_file", "is not text in UTF-8; write only the password there") from None
    if not password or "\n" in password:
        raise Unusable(kafka, "password_file", "is not one line; write only the password there")
    return password
