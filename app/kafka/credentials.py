"""What we present to the broker, and whom we take for it: the files that `[kafka]` names.

They are read before each new connection, and loaded again if their content has changed: certificates, CAs and passwords
rotate without a restart. What cannot be used then, such as a new certificate whose key is not there yet, is logged, and
what was loaded before stays in use.
"""

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import NamedTuple

from aiokafka.errors import KafkaError

from app.config import tls_files
from app.config.settings import FILES_OF_KAFKA, Kafka
from app.config.tls_files import Certificate, MissingFile, Reloading, TlsFiles, UnusableFile, certificate


class Unusable(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """A file that `[kafka]` names cannot be used; the text names its key and its path, and says what to do."""

    def __str__(self) -> str:
        return str(self.args[0])


class NotThere(Unusable):
    """A file that `[kafka]` names cannot be read here and now."""


class Loaded(NamedTuple):
    """What became of the files."""

    context: ssl.SSLContext | None
    password: str | None


class Credentials:
    """What the clients of one process have in common; threads may share it.

    `refusals` says by (host, port) why our last connection there failed, if the broker or its certificate was at fault.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.refusals: dict[tuple[str, int], str] = {}
        self._loaded = Reloading(files_of(kafka), partial(_load, kafka))

    def current(self) -> Loaded:
        """What the next connection should use. Unusable if a file cannot be used and nothing was loaded before."""
        with _unusable():
            return self._loaded.current()

    def certificate(self) -> Certificate | None:
        """Our own certificate as it was loaded last; None if we have none."""
        ours = self._loaded.contents.get("cert_file")
        return None if ours is None else certificate(ours)


@cache
def credentials_of(kafka: Kafka) -> Credentials:
    """The credentials that all clients with these settings share."""
    return Credentials(kafka)


def files_of(kafka: Kafka) -> TlsFiles:
    """The files that the settings name."""
    paths = {key: path for key in FILES_OF_KAFKA if (path := getattr(kafka, key)) is not None}
    return TlsFiles("kafka", paths, "the brokers")


def read(kafka: Kafka) -> dict[str, bytes]:
    """The content of each file that the settings name, by key; NotThere if one cannot be read."""
    with _unusable():
        return files_of(kafka).read()


def load(kafka: Kafka, contents: Mapping[str, bytes]) -> Loaded:
    """Make of the files what a connection needs; Unusable says what is wrong with which."""
    with _unusable():
        return _load(kafka, contents)


def problems(kafka: Kafka, now_s: float, offline: bool = False) -> list[str]:
    """What is wrong with the files, or will be soon. Offline, they may be another host's, so they may be missing."""
    return tls_files.problems(files_of(kafka), partial(_load, kafka), now_s, offline)


@contextlib.contextmanager
def _unusable() -> Iterator[None]:
    """Within the block a file that cannot be used is an error of Kafka's, as all that a connection may end with."""
    try:
        yield
    except MissingFile as error:
        raise NotThere(str(error)) from error
    except UnusableFile as error:
        raise Unusable(str(error)) from error


def _load(kafka: Kafka, contents: Mapping[str, bytes]) -> Loaded:
    if kafka.security == "plaintext":
        return Loaded(None, None)
    files = files_of(kafka)
    return Loaded(files.context(contents), _password(files, contents))


def _password(files: TlsFiles, contents: Mapping[str, bytes]) -> str | None:
    if "password_file" not in contents:
        return None
    name = files.name("password_file")
    try:
        password = contents["password_file"].decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UnusableFile(f"{name} is not text in UTF-8; write only the password there") from None
    if not password or "\n" in password:
        raise UnusableFile(f"{name} is not one line; write only the password there")
    return password
