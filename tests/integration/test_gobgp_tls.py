"""Mutual TLS with a real gobgpd, by both clients: who is let in, what `check` says, and certificates that rotate."""

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from app.actuator import open_gobgpd
from app.bgp.blocking import BlockingGobgp
from app.bgp.calls import Deadline
from app.bgp.client import GobgpClient
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.policy_client import read_policies
from app.bgp.tls import Tls
from app.cli.exposure import exposure
from app.clock import SystemClock
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Injector
from app.errors import SpeakerError
from app.lab.daemons.certificates import Authority
from app.lab.daemons.ports import free_port
from tests.app.actuation.pop import POP
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, Gobgpd, running
from tests.integration.bgp import eventually

pytestmark = [pytest.mark.services]

CLOCK = SystemClock()
SOON = Deadline(base_s=5.0)
PLACES = ("127.0.0.1", "localhost")


class Files:
    """A folder with certificates, of a gobgpd and of us."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = Authority("ours")

    def ours(self, name: str, client_ca: Authority, server_ca: Authority | None = None) -> Gobgp:
        """Settings whose certificate is of this CA, in files of this name, old or new."""
        issued = client_ca.issue(name)
        texts = {
            "ca_file": (server_ca or client_ca).certificate,
            "cert_file": issued.certificate,
            "key_file": issued.key,
        }
        for key, text in texts.items():
            self.put(f"{name}.{key}", text)
        return Gobgp(**{key: str(self.folder / f"{name}.{key}") for key in texts})

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def theirs(
        self, ca: Authority, days: float = 30.0, asks: bool = True, reached_at: Sequence[str] = PLACES
    ) -> tuple[str, ...]:
        """gobgpd's arguments for a certificate of this CA; `asks` for one of us."""
        issued, paths = ca.issue("gobgpd", reached_at, days), [str(self.folder / name) for name in ("crt", "key", "ca")]
        for path, text in zip(paths, (issued.certificate, issued.key, ca.certificate), strict=True):
            Path(path).write_text(text)
        arguments = ("--tls", "--tls-cert-file", paths[0], "--tls-key-file", paths[1])
        return (*arguments, "--tls-client-ca-file", paths[2]) if asks else arguments


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def secured(files: Files, more: tuple[str, ...], major: int = 4, target: str = "") -> AsyncIterator[Gobgpd]:
    """GoBGP 3 of Debian cannot ask for certificates."""
    daemon = Gobgpd(files.folder, ALONE, major=major)
    daemon.target = target or f"127.0.0.1:{free_port()}"
    daemon.tls, daemon.more = Tls(files.ours("starter", files.ca)), more
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()


async def held(target: str, tls: Tls | None) -> set[str]:
    """The routes that a client sees which is made for this call."""
    speaker = GobgpSpeaker(target, MARKER, SOON, tls=tls)
    try:
        return set(await speaker.routes())
    finally:
        await speaker.close()


async def test_both_clients_work_and_nobody_is_let_in_without_a_certificate_of_its_ca(files: Files) -> None:
    good, stranger = files.ours("good", files.ca), Authority("strangers")
    async with secured(files, files.theirs(files.ca)) as daemon:
        router = msgspec.structs.replace(POP.router[0], injector=Injector("127.0.0.21", daemon.target))
        speaker, blocking = open_gobgpd(CLOCK, good, POP, router), BlockingGobgp(daemon.target, MARKER, tls=Tls(good))
        many = [route(f"10.{number >> 8}.{number & 255}.0/24") for number in range(3000)]
        await speaker.announce([route(), *many])
        assert blocking.routes() == await speaker.routes() == {each.prefix: each for each in (route(), *many)}
        blocking.withdraw([each.prefix for each in many])
        blocking.put_note("reaper", b"1")
        assert (await speaker.routes(), await speaker.notes()) == ({route().prefix: route()}, {"reaper": b"1"})
        assert (await read_policies(daemon.target, 5.0, Tls(good))).asn == 64512
        for wrong in (
            None,
            Tls(files.ours("stranger", stranger, files.ca)),  # whose certificate is of another CA
            Tls(files.ours("believer", files.ca, stranger)),  # who takes only servers of another CA
        ):
            with pytest.raises(SpeakerError, match=r"is gobgpd running .* certificates"):
                await held(daemon.target, wrong)
            with pytest.raises(SpeakerError, match=r"is gobgpd running .* certificates"):
                BlockingGobgp(daemon.target, MARKER, SOON, tls=wrong).routes()
        blocking.close()
        await speaker.close()


async def test_a_name_that_is_not_in_the_certificate_is_not_believed(files: Files) -> None:
    good = Tls(files.ours("good", files.ca))
    more = files.theirs(files.ca, reached_at=["elsewhere.example"])
    daemon = Gobgpd(files.folder, ALONE, major=4)
    daemon.target, daemon.tls, daemon.more = f"127.0.0.1:{free_port()}", good, more
    starting = asyncio.create_task(daemon.start())
    await eventually(partial(listens, daemon.target))
    for client in (partial(held, daemon.target, good), partial(asyncio.to_thread, seen_by_the_reaper, daemon, good)):
        with pytest.raises(SpeakerError, match="is gobgpd running"):
            await client()
    starting.cancel()
    await asyncio.wait([starting])
    await daemon.stop()


def seen_by_the_reaper(daemon: Gobgpd, tls: Tls) -> object:
    return BlockingGobgp(daemon.target, MARKER, SOON, tls=tls).routes()


async def listens(target: str) -> bool:
    host, _, port = target.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


async def test_certificates_rotate_while_calls_and_a_watch_run(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    old, new = files.ca, Authority("ours, renewed")
    keys = files.ours("client", old)
    async with secured(files, files.theirs(old)) as daemon:
        client, blocking = (
            GobgpClient(daemon.target, SOON, Tls(keys)),
            BlockingGobgp(daemon.target, MARKER, tls=Tls(keys)),
        )
        calls = 0

        async def call_on() -> None:
            nonlocal calls
            while True:
                await client.global_config()
                calls += 1

        async def watch() -> None:
            async for _ in client.watch_received():
                pass

        assert blocking.routes() == {}
        calling, watching = asyncio.create_task(call_on()), asyncio.create_task(watch())

        async def both_run() -> bool:
            return calls >= 10

        await eventually(both_run)
        first, issued = client.channel(), old.issue("renewed")
        files.put("client.cert_file", issued.certificate)  # its key is not there yet
        assert client.channel() is first
        assert "what was loaded before stays in use" in caplog.text
        files.put("client.key_file", issued.key)
        assert client.channel() is not first
        before = calls
        with pytest.raises(SpeakerError, match=r"WatchEvent ended, because the files of \[gobgp\] changed"):
            await watching
        assert calls > before
        assert blocking.routes() == {}, "on the connection that it has"

        calling.cancel()  # gobgpd takes new files only when it starts
        await asyncio.wait([calling])
        assert calling.cancelled(), "no call has failed"
        files.put("client.ca_file", old.certificate + new.certificate)
        await daemon.stop()
        daemon.more, daemon.tls = files.theirs(new), Tls(files.ours("starter", new))
        issued = new.issue("renewed")
        files.put("client.cert_file", issued.certificate)
        files.put("client.key_file", issued.key)
        await daemon.start()
        assert (await client.global_config()).asn == 64512
        assert blocking.routes() == {}
        blocking.close()
        await client.close()


@pytest.mark.parametrize("major", [3, 4])
async def test_check_says_who_is_let_in_and_until_when(files: Files, major: int) -> None:
    good, now_s = files.ours("good", files.ca), CLOCK.now_s()
    async with secured(files, files.theirs(files.ca, asks=False), major) as daemon:
        found = await exposure(daemon.target, good, now_s)
        assert f"TLS at {daemon.target}, whose certificate holds until " in found.text
        assert f"the gobgpd at {daemon.target} lets in who has no certificate" in str(found.problem)
        assert await held(daemon.target, Tls(good)) == set()
    if major == 4:
        for days, problem in ((30.0, None), (3.0, "renew it")):
            async with secured(files, files.theirs(files.ca, days)) as daemon:
                found = await exposure(daemon.target, good, now_s)
                assert f"TLS at {daemon.target}, whose certificate holds until " in found.text
                assert found.problem is problem or str(problem) in str(found.problem)
        assert "not seen" in (await exposure(daemon.target, good, now_s)).text


async def test_check_says_whose_socket_it_is(files: Files) -> None:
    async with running(("alone", ALONE)) as [daemon]:
        daemon.socket.chmod(0o700)
        found = await exposure(daemon.target, Gobgp(), 0.0)
        assert found == (f"unix socket {daemon.socket}, mode 0700 of {getpass.getuser()}", None)
        daemon.socket.chmod(0o777)
        assert "every user of this host may announce routes" in str(
            (await exposure(daemon.target, Gobgp(), 0.0)).problem
        )
        assert (await exposure(f"unix://{daemon.socket}-missing", Gobgp(), 0.0)).problem is None
    found = await exposure("127.0.0.1:50051", Gobgp(), 0.0)
    assert found == ("TCP without TLS at 127.0.0.1:50051, where every user of its host may write", None)


async def test_check_says_what_a_gobgpd_has_open_beside_its_socket(files: Files) -> None:
    daemon, where = Gobgpd(files.folder, ALONE), f"127.0.0.1:{free_port()}"
    daemon.more = ("--api-hosts", f"{daemon.target},{where}")
    await daemon.start()
    try:
        problem = str((await exposure(daemon.target, Gobgp(), 0.0)).problem)
    finally:
        await daemon.stop()
    assert f"also has its gRPC at {where}, where whoever reaches it may announce routes" in problem


async def test_the_reaper_speaks_tls_on_a_unix_socket_too_and_does_not_start_without_its_files(files: Files) -> None:
    good, halt_file = files.ours("good", files.ca), files.folder / "halt"
    socket, target = f"unix://{files.folder}/s", f"127.0.0.1:{free_port()}"
    more = (*files.theirs(files.ca), "--api-hosts", f"{socket},{target}")
    async with secured(files, more, target=target) as daemon:
        speaker = GobgpSpeaker(daemon.target, MARKER, tls=Tls(good))
        await speaker.announce([route().leased_until(int(CLOCK.now_s()) + 300)])
        assert await reap(socket, halt_file, msgspec.structs.replace(good, key_file="missing")) == 1
        reaping = asyncio.create_task(reap(socket, halt_file, good))

        async def is_noted() -> bool:
            return bool(await speaker.notes())

        async def is_gone() -> bool:
            return not await speaker.routes()

        await eventually(is_noted)
        assert not await is_gone()
        halt_file.touch()
        await eventually(is_gone)
        reaping.cancel()
        await asyncio.wait([reaping])
        await speaker.close()


async def reap(target: str, halt_file: Path, gobgp: Gobgp) -> int:
    """The command; its exit code."""
    options = {"target": target, "marker": MARKER, "halt-file": halt_file} | {
        key.replace("_", "-"): path for key, path in gobgp.files.paths.items()
    }
    argv = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "app", "reaper", *argv)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
