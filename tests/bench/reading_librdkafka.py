"""The part of librdkafka in `tests.bench.reading`: it takes messages and counts."""

from confluent_kafka import Consumer

from tests.bench.lines import LIBRDKAFKA
from tests.bench.meter import Meter
from tests.bench.report import Job

MESSAGES = 10_000  # asked for at a time, but not waited for
WAIT_S = 0.05


def main() -> None:
    job = Job.from_argv()
    settings = LIBRDKAFKA | {"enable.auto.commit": "false", "auto.offset.reset": "earliest", "check.crcs": "true"}
    consumer = Consumer({"bootstrap.servers": job.broker, "group.id": job.group, **settings})
    consumer.subscribe([job.topic])
    meter, done = Meter(job.records), False
    while not done:
        messages = consumer.consume(MESSAGES, timeout=WAIT_S)
        done = bool(messages) and meter.add(len(messages), sum([len(message.value()) for message in messages]))
    consumer.close()


if __name__ == "__main__":
    main()
