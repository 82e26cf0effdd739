"""Quix Streams: a 10 s tumbling sum per link, with its state in RocksDB and a changelog.

As its experts would: msgspec decodes only the fields that are needed, lines of a message are split by the deserializer,
grouping stays in the process because the topic has one partition, and the window is by the record's own time. In the
variant `combined` the deserializer adds up a message's records by link and second first.
"""

from collections.abc import Iterator
from pathlib import Path
from timeit import default_timer
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer

from tests.bench.lines import LIBRDKAFKA, Flow, Seconds, add_up, flows, whole_second
from tests.bench.report import Job, report

WINDOW_MS, GRACE_MS, COMMIT_S = 10_000, 4_000, 5.0
Part = tuple[str, int, int]  # link, bytes, milliseconds


class Lines(Deserializer):
    """A message to its records; counts them, and notes when the first came."""

    def __init__(self, combined: bool) -> None:
        super().__init__()
        self.records = 0
        self.began = 0.0
        self._combined = combined

    @property
    def split_values(self) -> bool:
        """Each record is processed as a message."""
        return True

    def __call__(self, value: bytes, ctx: object) -> list[Part]:
        self.began = self.began or default_timer()
        found = flows(value)
        self.records += len(found)
        return list(self._added_up(found)) if self._combined else [self._part(flow) for flow in found]

    @staticmethod
    def _part(flow: Flow) -> Part:
        size_bytes = flow.bytes * flow.sampling_rate
        return f"{flow.peer_ip_src}/{flow.iface_out}", size_bytes, whole_second(flow.timestamp_arrival) * 1000

    @staticmethod
    def _added_up(found: list[Flow]) -> Iterator[Part]:
        sums = Seconds(int)
        add_up(found, sums)
        for (agent, index, arrived), size_bytes in sums.items():
            yield f"{agent}/{index}", size_bytes, whole_second(arrived) * 1000


def main() -> None:
    job = Job.from_argv()
    app = Application(
        broker_address=job.broker,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=COMMIT_S,
        consumer_extra_config=LIBRDKAFKA,
        state_dir=Path(job.directory),
        loglevel="WARNING",
    )
    lines, sums = Lines(job.variant == "combined"), dict[str, int]()
    topic = app.topic(job.topic, value_deserializer=lines, timestamp_extractor=lambda value, *_: value[2])

    def note(value: Any, key: Any, *_: Any) -> None:
        """The newest value of a window is its sum; stops where the run ends."""
        sums[f"{key}@{value['start'] // 1000}"] = value["value"]
        if lines.records >= job.records:
            app.stop()

    frame = app.dataframe(topic).group_by(lambda value: value[0], name="link").apply(lambda value: value[1])
    frame.tumbling_window(WINDOW_MS, grace_ms=GRACE_MS).sum().current("partition").update(note, metadata=True)
    app.run()
    seconds = default_timer() - lines.began
    ours: dict[str, str | int | float] = {
        "commit_interval": COMMIT_S,
        "grace_ms": GRACE_MS,
        "changelog": "yes",
        "closing": "partition",
    }
    report(lines.records, seconds, sums, {**LIBRDKAFKA, **ours})


if __name__ == "__main__":
    main()
