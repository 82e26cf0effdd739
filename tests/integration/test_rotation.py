"""Certificates of telemetry and of a collector expire and are renewed while flows come in: none is lost."""

import asyncio
import socket
import sys
from contextlib import suppress

import pytest

from app.config.inventory import load_pop
from app.contract.identities import name_of
from app.contract.topics import COUNTERS
from app.errors import DaemonError
from app.kafka.admin import missing_topics
from app.kafka.read import read_topic
from app.lab.daemons import collectors
from app.lab.daemons.deployment import write_inventory, write_settings
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Program
from app.lab.demo.evidence import ByteAccount
from app.lab.demo.state_client import StateClient
from app.lab.pop.sflow import encode_datagram
from tests.integration.conftest import INVENTORY
from tests.integration.guarded import OPERATOR, GuardedBroker, guarded_broker
from tests.integration.loglines import log_lines
from tests.integration.test_sfacctd import AGENT, counters
from tests.integration.test_telemetry import BYTES, POP, samples, until

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

LIFE_S = 25.0  # of the second certificates: until telemetry has noticed them, and they are renewed once more
# The broker hangs up on whoever says nothing for so long, so telemetry opens connections all the time. sfacctd opens
# one for each purge.
IDLE = "connections.max.idle.ms=3000\n"
EVERY_S = 0.1


class Flows:
    """Samples of flows and counters, a few a second, until it is cancelled."""

    def __init__(self, collector: tuple[str, int]) -> None:
        self.sent = 0
        self._collector = collector

    async def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while True:
                self.sent += 1
                encoded = [*samples(1, 101, "20.0.0.9", self.sent), counters(self.sent)]
                sender.sendto(encode_datagram(AGENT, self.sent, 100 * self.sent, encoded), self._collector)
                await asyncio.sleep(EVERY_S)


async def test_certificates_rotate_while_records_flow_and_none_is_lost() -> None:
    async with guarded_broker({POP: [POP]}, IDLE) as broker:
        runner, guard = broker.runner, broker.guard
        rotated = [name_of("sfacctd", POP), name_of("telemetry", POP)]
        state = await _started(broker, *rotated)
        pids = [runner.pid(name) for name in ("sfacctd", "telemetry")]
        flows = Flows(("127.0.0.1", broker.site.ports.sflow))
        flowing = asyncio.create_task(flows.run())

        async def counts_all(of: int) -> bool:
            return await _samples_counted(state) >= of

        async def have_expired() -> bool:
            with suppress(DaemonError):
                await missing_topics(guard.kafka("old"), {})
                return False
            return True

        async def is_noticed(times: int) -> bool:
            told = log_lines(runner.log("telemetry"))
            return sum("cert_file, key_file changed" in line["message"] for line in told) >= times

        await until(lambda: counts_all(1))
        for name in (*rotated, "old"):
            guard.renew(name, days=LIFE_S / 86_400)
        await until(lambda: is_noticed(1))
        for name in rotated:
            guard.renew(name)
        await until(have_expired)
        await until(lambda: is_noticed(2))
        since = flows.sent
        await until(lambda: counts_all(since + 50))
        flowing.cancel()
        with suppress(asyncio.CancelledError):
            await flowing
        await until(lambda: counts_all(flows.sent))
        assert await _samples_counted(state) == flows.sent
        counted = await read_topic(guard.kafka(OPERATOR), COUNTERS.for_pop(POP))
        assert sum(b"sflow_cnt_generic" in record.value for record in counted) == flows.sent
        assert [runner.pid(name) for name in ("sfacctd", "telemetry")] == pids
        assert runner.ended == {}


async def _started(broker: GuardedBroker, sfacctd: str, telemetry: str) -> StateClient:
    """Start both, and return what reads the state of telemetry."""
    site, runner, guard = broker
    ways = collectors.Ways(guard.kafka(sfacctd), guard.kafka(OPERATOR))
    await collectors.start_sfacctd(runner, site, load_pop(INVENTORY), 1, ways)
    port = free_port()
    overrides = {"kafka": guard.keys(telemetry), "state_port": port}
    settings = write_settings(site.run_dir, write_inventory(site.run_dir, INVENTORY), "", overrides)
    argv = [sys.executable, "-m", "app", "telemetry", "--cell", POP, "--config", str(settings)]
    await runner.start(Program(name="telemetry", argv=argv, keeps_user=True))
    return StateClient(port, POP)


async def _samples_counted(state: StateClient) -> float:
    """How many samples telemetry has accounted for, in whichever column."""
    account = await state.get("progress", ByteAccount)
    return (account.counted_bytes + account.late_bytes + sum(account.unattributed_bytes.values())) / BYTES
