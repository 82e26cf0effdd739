"""Faust as its documentation shows it: an agent over typed records, and a tumbling table in RocksDB.

Differs only in what the data needs: a key of two fields, the window by the record's own time, and no web server. Faust
commits every 2.8 s; at the end it is asked to at once.
"""

import asyncio
import os
import signal
from timeit import default_timer
from typing import Any

import faust

from tests.bench.report import Job, report

WINDOW_S, EXPIRES_S = 10.0, 3600.0


class Flow(faust.Record, coerce=True):
    """A flow record, or a marker, which has none of the fields but the first."""

    event_type: str
    peer_ip_src: str = ""
    iface_out: int = 0
    sampling_rate: int = 0
    timestamp_arrival: float = 0.0
    bytes: int = 0


def build(job: Job) -> faust.App:
    """The app; it ends its process when it has committed the last record of the job."""
    app = faust.App(
        job.group,
        broker=f"kafka://{job.broker}",
        store="rocksdb://?driver=rocksdict",
        datadir=job.directory,
        topic_partitions=1,
        topic_replication_factor=1,
        topic_disable_leader=True,
        web_enabled=False,
    )
    flows = app.topic(job.topic, value_type=Flow, value_serializer="json")
    table: Any = app.Table("sums", default=int).tumbling(WINDOW_S, expires=EXPIRES_S)
    sums = table.relative_to_field(Flow.timestamp_arrival)
    records, began = 0, 0.0

    async def finish(offset: int) -> None:
        consumer: Any = app.consumer
        (partition,) = (tp for tp in consumer.assignment() if tp.topic == job.topic)
        while (consumer._committed_offset[partition] or 0) <= offset:
            await consumer.commit()
            await asyncio.sleep(0.01)
        seconds = default_timer() - began
        found = {f"{link}@{int(start)}": size for (link, (start, _)), size in table.table.items()}
        settings = {"broker_commit_interval": app.conf.broker_commit_interval, "expires_s": EXPIRES_S}
        report(records, seconds, found, settings | {"window": "tumbling", "store": "rocksdb (rocksdict)"})
        os.kill(os.getpid(), signal.SIGTERM)  # the worker goes on where only its app stops

    @app.agent(flows, name="sums")
    async def add(stream: faust.StreamT[Flow]) -> None:
        nonlocal records, began
        async for event in stream.events():
            flow: Any = event.value
            began = began or default_timer()
            if flow.event_type != "purge" or records == job.records:
                continue
            sums[f"{flow.peer_ip_src}/{flow.iface_out}"] += flow.bytes * flow.sampling_rate
            records += 1
            if records == job.records:
                app.loop.create_task(finish(event.message.offset))

    return app


if __name__ == "__main__":
    worker = faust.Worker(build(Job.from_argv()), loglevel="warning", quiet=True, redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()
