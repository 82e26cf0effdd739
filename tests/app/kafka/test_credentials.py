"""The files of `[kafka]`: each mistake is named with its key and path, and what changes is loaded again."""

import asyncio
import inspect
import ssl
from pathlib import Path
from typing import Any

import aiokafka.client
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from app.clock import SystemClock
from app.config.settings import Kafka
from app.kafka import client
from app.kafka.credentials import Credentials, NotThere, Unusable, load, problems, read
from app.lab.daemons.certificates import Authority, Issued

CA = Authority("brokers")
OURS, THEIRS = CA.issue("ours"), CA.issue("theirs")


class Files:
    """A folder with what `mtls` needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put(ca_file=CA.certificate, cert_file=OURS.certificate, key_file=OURS.key)

    def put(self, **texts: str) -> None:
        for key, text in texts.items():
            (self.folder / key).write_text(text)
            (self.folder / key).chmod(0o640)

    def issue(self, issued: Issued) -> None:
        self.put(cert_file=issued.certificate, key_file=issued.key)

    @property
    def kafka(self) -> Kafka:
        keys: dict[str, Any] = {key: str(self.folder / key) for key in ("ca_file", "cert_file", "key_file")}
        return Kafka(security="mtls", **keys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("ca_file", "none", "has no certificate in PEM; write the CA of the brokers there"),
        ("cert_file", OURS.key, "has no certificate in PEM; write ours there"),
        ("key_file", OURS.certificate, "has no private key in PEM; write that of kafka.cert_file there"),
        ("key_file", THEIRS.key, "does not belong to the certificate in kafka.cert_file"),
        ("key_file", "-----BEGIN ENCRYPTED PRIVATE KEY-----", "has a passphrase; take it off with `openssl pkey"),
        ("key_file", OURS.key.replace("M", "!", 1), "is damaged"),
        ("cert_file", OURS.certificate.replace("M", "!", 1), "is damaged"),
    ],
    ids=["no CA", "a key", "a certificate", "another's", "with a passphrase", "key damaged", "certificate damaged"],
)
def test_what_is_wrong_with_a_file_is_named(files: Files, key: str, text: str, problem: str) -> None:
    files.put(**{key: text})
    with pytest.raises(Unusable) as caught:
        load(files.kafka, read(files.kafka))
    assert str(caught.value).startswith(f"kafka.{key}: {files.folder / key} {problem}")


def test_a_file_that_is_missing_or_a_folder_is_named(files: Files) -> None:
    (files.folder / "key_file").unlink()
    with pytest.raises(NotThere, match=r"kafka\.key_file: .*/key_file cannot be read: no such file or directory; put"):
        read(files.kafka)
    (files.folder / "key_file").mkdir()
    with pytest.raises(NotThere, match=r"kafka\.key_file: .*/key_file cannot be read: is a directory"):
        read(files.kafka)


@pytest.mark.parametrize("text", ["", "\n", "two\nlines\n"])
def test_a_password_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "password").write_text(text)
    kafka = Kafka(security="sasl-scram", username="ours", password_file=str(tmp_path / "password"))
    with pytest.raises(Unusable, match="is not one line; write only the password there"):
        load(kafka, read(kafka))
    (tmp_path / "password").write_text(" with spaces \r\n")
    assert load(kafka, read(kafka)).password == " with spaces "


def test_what_changes_is_loaded_again_and_what_stays_is_not(files: Files) -> None:
    credentials = Credentials(files.kafka)
    first = credentials.current()
    files.issue(OURS)
    assert credentials.current() is first, "other times, the same content"
    files.issue(THEIRS)
    second = credentials.current()
    assert second.context is not first.context
    ours = credentials.certificate()
    assert ours is not None
    assert ours.subject == "CN=theirs"


def test_a_ca_that_was_taken_out_is_trusted_no_more(files: Files) -> None:
    credentials = Credentials(files.kafka)
    files.put(ca_file=CA.certificate + Authority("next").certificate)
    assert trusted(credentials) == 2
    files.put(ca_file=CA.certificate)
    assert trusted(credentials) == 1


def trusted(credentials: Credentials) -> int:
    context = credentials.current().context
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    return len(context.get_ca_certs())


def test_half_a_rotation_leaves_what_was_loaded_before_in_use(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials(files.kafka)
    first = credentials.current()
    files.put(cert_file=THEIRS.certificate)
    assert credentials.current() is first
    assert "does not belong to the certificate" in caplog.text
    assert "what was loaded before stays in use" in caplog.text
    files.put(key_file=THEIRS.key)
    assert credentials.current() is not first


def test_an_end_that_comes_soon_is_a_problem(files: Files) -> None:
    now_s = SystemClock().now_s()
    assert problems(files.kafka, now_s) == []
    files.issue(CA.issue("ours", days=3))
    [soon] = problems(files.kafka, now_s)
    assert "/cert_file expires at " in soon
    files.issue(CA.issue("ours", days=-3))
    [late] = problems(files.kafka, now_s)
    assert "/cert_file expired at " in late


@pytest.mark.parametrize("mode", [0o644, 0o642])
@pytest.mark.parametrize(("key", "is_secret"), [("key_file", True), ("cert_file", False), ("ca_file", False)])
def test_a_secret_that_every_user_can_read_is_a_problem(files: Files, key: str, is_secret: bool, mode: int) -> None:
    path = files.folder / key
    path.chmod(mode)
    problem = f"kafka.{key}: {path} can be read or changed by every user of this host; use `chmod o-rw {path}`"
    assert problems(files.kafka, SystemClock().now_s()) == [problem] * is_secret


def test_a_missing_file_hides_no_open_secret(files: Files) -> None:
    (files.folder / "ca_file").unlink()
    (files.folder / "key_file").chmod(0o644)
    [problem] = problems(files.kafka, 0.0, offline=True)
    assert "can be read or changed by every user" in problem


def test_files_may_be_missing_on_a_host_that_only_checks(files: Files) -> None:
    (files.folder / "key_file").unlink()
    assert problems(files.kafka, 0.0, offline=True) == []
    files.put(key_file="none")
    assert len(problems(files.kafka, 0.0, offline=True)) == 1


async def test_aiokafka_opens_its_connections_by_the_name_that_we_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client calls `create_conn` as it stands in its module, with the options that we look for."""
    opened: list[dict[str, Any]] = []

    async def refuse(host: str, port: int, **options: Any) -> None:
        opened.append(options)
        raise KafkaConnectionError("refused")

    monkeypatch.setattr(client, "create_conn", refuse)
    for made in (client.admin(Kafka()), client.producer(Kafka()), client.consumer(Kafka())):
        with pytest.raises(KafkaError):
            async with client.started(made):
                pass
    assert len(opened) == 3
    assert all({"ssl_context", "sasl_plain_password", "on_close"} <= options.keys() for options in opened)
    assert opened[0]["ssl_context"] is opened[0]["sasl_plain_password"] is None, "plaintext"
    source = inspect.getsource(aiokafka.client.AIOKafkaClient)
    assert source.count("await create_conn(") == 2


async def test_a_broker_that_is_away_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    async def refuse(host: str, port: int, **options: Any) -> None:
        raise ConnectionRefusedError(111, "Connect call failed")

    monkeypatch.setattr(client, "create_conn", refuse)
    monkeypatch.setattr(asyncio, "sleep", wait)
    with pytest.raises(KafkaError) as caught:
        async with client.started(client.admin(Kafka())):
            pass
    assert waited == [client.PAUSE_S]
    said = client.unreachable(Kafka(), caught.value)
    assert said == "broker localhost:9092: no connection; is it running there, is kafka.broker right?"
