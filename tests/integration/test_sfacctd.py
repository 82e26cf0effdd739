"""sFlow in, flow records and counters out: to the byte, to the sample, and with the rate beside them."""

import signal
import socket

import pytest

from app.contract.topics import COUNTERS, FLOWS
from app.lab.daemons.machine import binary, fill
from app.lab.daemons.ports import free_port, udp_drops, udp_holders
from app.lab.daemons.runner import Program
from app.lab.daemons.stack import Stack
from app.lab.pop.packets import tcp_frame
from app.lab.pop.sflow import FlowSample, GenericCounters, encode_counters, encode_datagram, encode_flow
from app.te.traffic.windows import Progress
from tests.integration.kafka_reader import Record, records_until

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

AGENT, RATE, FRAME_BYTES = "192.0.2.1", 32768, 1018
DESTINATIONS = ("20.0.0.9", "20.0.1.9", "2001:db8:20::9")
DATAGRAMS = 40
SAMPLES = DATAGRAMS * len(DESTINATIONS)


def flow(sequence: int, destination: str) -> bytes:
    source = "2001:db8::1" if ":" in destination else "198.18.0.1"
    return encode_flow(
        FlowSample(
            sequence=sequence,
            source_ifindex=101,
            sampling_rate=RATE,
            sample_pool=RATE * sequence + sequence % 7,  # not exactly the rate times the samples, as on a router
            input_ifindex=1,
            output_ifindex=101,
            frame_bytes=FRAME_BYTES,
            header=tcp_frame(source, destination, FRAME_BYTES, 50000),
        )
    )


def counters(sequence: int) -> bytes:
    return encode_counters(
        GenericCounters(
            sequence=sequence,
            ifindex=101,
            speed_bps=100_000_000_000,
            in_octets=7,
            in_packets=1,
            out_octets=(1 << 40) + sequence,
            out_packets=sequence,
            out_discards=(1 << 32) - 1,
        )
    )


def send(collector: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in range(DATAGRAMS):
            first = datagram * len(DESTINATIONS)
            samples = [flow(first + index, destination) for index, destination in enumerate(DESTINATIONS)]
            payload = encode_datagram(AGENT, datagram, 1000 * datagram, [*samples, counters(datagram)])
            sender.sendto(payload, collector)


async def test_every_sample_and_counter_arrives_between_its_markers(stack: Stack) -> None:
    send(stack.sflow)

    def all_purged(found: list[Record]) -> bool:
        writers = {record["writer_id"] for record in found if record["event_type"] == "purge"}
        closed = {record["writer_id"] for record in found if record["event_type"] == "purge_close"}
        return sum(record.get("packets", 0) for record in found) >= SAMPLES and writers <= closed

    found = await records_until(stack.kafka.broker, FLOWS.for_pop(stack.pop.name), all_purged)
    flows = [record for record in found if record["event_type"] == "purge"]
    assert sum(record["packets"] for record in flows) == SAMPLES
    assert sum(record["bytes"] for record in flows) == SAMPLES * FRAME_BYTES
    assert {record["ip_dst"] for record in flows} == set(DESTINATIONS)
    assert {record["sampling_rate"] for record in flows} == {RATE}
    assert {(record["peer_ip_src"], record["iface_in"], record["iface_out"]) for record in flows} == {(AGENT, 1, 101)}
    assert udp_drops(stack.sflow[1]) == 0

    polled = await records_until(
        stack.kafka.broker, COUNTERS.for_pop(stack.pop.name), lambda found: len(found) > DATAGRAMS
    )
    generic = [record for record in polled if record.get("sf_cnt_type") == "sflow_cnt_generic"]
    assert [record["ifOutOctets"] for record in generic] == [(1 << 40) + index for index in range(DATAGRAMS)]
    assert {(record["ifSpeed"], record["ifOutDiscards"]) for record in generic} == {(100_000_000_000, (1 << 32) - 1)}


async def test_the_port_is_its_own(stack: Stack) -> None:
    pid = stack.runner.pid("sfacctd")
    assert udp_holders(stack.sflow[1]) == [f"sfacctd (pid {pid})"]


async def test_two_collectors_of_one_topic_are_told_apart_by_the_names_of_their_plugins(stack: Stack) -> None:
    topic, port = FLOWS.for_pop(stack.pop.name), free_port()
    topics = {"flows_topic": topic, "counters_topic": COUNTERS.for_pop(stack.pop.name)}
    text = fill("sfacctd.conf", sflow=port, kafka=stack.site.ports.kafka, refresh_s=2, **topics)
    config = stack.site.write("sfacctd-b.conf", text.replace("[flows]", "[flows_b]"))
    program = Program(name="sfacctd-b", argv=(binary("sfacctd"), "-f", str(config)), stop_signal=signal.SIGINT)
    await stack.runner.start(program)
    try:

        def both_purged(found: list[Record]) -> bool:
            names = [record["writer_id"].partition("/")[0] for record in found if record["event_type"] == "purge_init"]
            return min(names.count("flows"), names.count("flows_b")) >= 3

        found = await records_until(stack.kafka.broker, topic, both_purged)
    finally:
        await stack.runner.stop("sfacctd-b")
    progress = Progress()
    for second, record in enumerate(record for record in found if record["event_type"] != "purge"):
        progress.mark(record["event_type"], record["writer_id"], float(second), 30.0)
    assert {writer.name for writer in progress.writers.known} == {"flows", "flows_b"}
