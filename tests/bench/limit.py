"""The limit: librdkafka, msgspec and a dict, no state. Python that looks at each record is hardly faster."""

from collections import defaultdict
from timeit import default_timer

import msgspec
from confluent_kafka import Consumer

from tests.bench.report import Job, report

SETTINGS: dict[str, str | int | float] = {
    "enable.auto.commit": "false",
    "auto.offset.reset": "earliest",
    "fetch.message.max.bytes": 8_388_608,
    "fetch.max.bytes": 67_108_864,
    "queued.max.messages.kbytes": 65_536,
}
MESSAGES = 50  # asked for at a time; what comes first is not in the time
WINDOW_S = 10


class Flow(msgspec.Struct, tag_field="event_type", tag="purge", gc=False):
    """The fields that are needed."""

    peer_ip_src: str
    iface_out: int
    sampling_rate: int
    timestamp_arrival: str
    bytes: int


class Init(msgspec.Struct, tag_field="event_type", tag="purge_init", gc=False):
    """A marker."""


class Close(msgspec.Struct, tag_field="event_type", tag="purge_close", gc=False):
    """A marker."""


def main() -> None:
    job = Job.from_argv()
    consumer = Consumer({"bootstrap.servers": job.broker, "group.id": job.group, **SETTINGS})
    consumer.subscribe([job.topic])
    decode = msgspec.json.Decoder(Flow | Init | Close).decode_lines
    sums: defaultdict[tuple[str, int, int], int] = defaultdict(int)
    records, began = 0, 0.0
    while records < job.records:
        messages = consumer.consume(MESSAGES, timeout=1.0)
        began = began or (default_timer() if messages else 0.0)
        for message in messages:
            for flow in decode(message.value()):
                if type(flow) is Flow:
                    records += 1
                    start_s = int(flow.timestamp_arrival[:-7]) // WINDOW_S * WINDOW_S
                    sums[flow.peer_ip_src, flow.iface_out, start_s] += flow.bytes * flow.sampling_rate
            if records >= job.records:
                consumer.commit(message, asynchronous=False)
                break
    seconds = default_timer() - began
    consumer.close()
    report(
        records, seconds, {f"{agent}/{index}@{start}": size for (agent, index, start), size in sums.items()}, SETTINGS
    )


if __name__ == "__main__":
    main()
