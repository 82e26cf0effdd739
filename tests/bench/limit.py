"""The limit: librdkafka, msgspec and a dict, no state. Python that looks at each record is hardly faster."""

from timeit import default_timer

from confluent_kafka import Consumer

from tests.bench.lines import LIBRDKAFKA, Seconds, add_up, by_window, flows
from tests.bench.report import Job, report

SETTINGS = LIBRDKAFKA | {"enable.auto.commit": "false", "auto.offset.reset": "earliest"}
MESSAGES = 50  # asked for at a time; what comes first is not in the time


def main() -> None:
    job = Job.from_argv()
    consumer = Consumer({"bootstrap.servers": job.broker, "group.id": job.group, **SETTINGS})
    consumer.subscribe([job.topic])
    sums = Seconds(int)
    records, began = 0, 0.0
    while records < job.records:
        messages = consumer.consume(MESSAGES, timeout=1.0)
        began = began or (default_timer() if messages else 0.0)
        for message in messages:
            if records < job.records:
                found = flows(message.value())
                records += len(found)
                add_up(found, sums)
    consumer.commit(asynchronous=False)
    seconds = default_timer() - began
    consumer.close()
    report(records, seconds, by_window(sums), SETTINGS)


if __name__ == "__main__":
    main()
