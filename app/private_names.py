"""Every private name of aiokafka and Faust that the product uses; no other file has one.

A name without a promise may go with any release. tests/app/test_private_names.py names each of these, and `make canary`
tries them against the newest releases.

Functions read and set. The classes stand before Faust's own in the bases of ours: each passes what Faust calls by a
private name on to a public one, which ours overrides. Faust is not imported here: the command line must not wait for
it.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import aiokafka.client
import aiokafka.consumer.fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.producer.sender import SendProduceReqHandler

Batches = Mapping[Any, Any]  # by partition


# aiokafka: clients


def connect_by(connect: Callable[..., Awaitable[Any]]) -> None:
    """Let every client of this process open its connections by `connect`."""
    aiokafka.client.create_conn = connect


def send_request(admin: Any, request: Any, node_id: int | None = None) -> Awaitable[Any]:
    """The answer of any broker, or of this one."""
    answer: Awaitable[Any] = admin._send_request(request, node_id)
    return answer


def send_request_to_node(admin: Any, node_id: int, request: Any) -> Awaitable[Any]:
    """The answer of this broker, to a request that is not asked of any."""
    answer: Awaitable[Any] = admin._send_request_to_node(node_id, request)
    return answer


def connections_of(owner: Any) -> Any:
    """The AIOKafkaClient of a consumer or an admin client."""
    return owner._client


# aiokafka: the producer


def sender_of(producer: Any) -> Any:
    """The Sender of a producer."""
    return producer._sender


def created_s(batch: Any) -> float:
    """When a batch of a producer was begun, by the monotonic clock."""
    at_s: float = batch._ctime
    return at_s


def send_only(sender: Any, due: Callable[[Batches], Awaitable[Batches]]) -> None:
    """Let a Sender send those of its batches that `due` returns, and forget the others."""

    async def send_produce_req(node_id: int, batches: Batches) -> None:
        if sent := await due(batches):
            await SendProduceReqHandler(sender, sent).do(node_id)
        sender._in_flight.remove(node_id)
        sender._muted_partitions.difference_update(batches)

    sender._send_produce_req = send_produce_req


# aiokafka: the consumer


def fetcher_of(consumer: Any) -> Any:
    """The Fetcher of a consumer."""
    return consumer._fetcher


def fetches_of(fetcher: Any) -> Iterable[Any]:
    """The tasks of the fetches that are under way."""
    tasks: Iterable[Any] = fetcher._pending_tasks
    return tasks


def coordinator_of(consumer: Any) -> Any:
    """The GroupCoordinator of a consumer."""
    return consumer._coordinator


def checks_checksums(consumer: Any) -> bool:
    """Whether a consumer checks the checksums of batches itself."""
    return bool(consumer._check_crcs)


def watch_membership(
    coordinator: Any, confirmed_by: Callable[[Awaitable[Any]], Awaitable[Any]], left: Callable[[], None]
) -> None:
    """Await each heartbeat and each join of a coordinator by `confirmed_by`; `left` is called when it is no member."""
    beat, join, reset = coordinator._do_heartbeat, coordinator._do_rejoin_group, coordinator.reset_generation

    async def do_heartbeat() -> Any:
        return await confirmed_by(beat())

    async def do_rejoin_group(subscription: Any) -> Any:
        return await confirmed_by(join(subscription))

    def reset_generation() -> None:
        reset()
        left()

    coordinator._do_heartbeat, coordinator._do_rejoin_group = do_heartbeat, do_rejoin_group
    coordinator.reset_generation = reset_generation


def read_fetches_by(batches: type) -> None:
    """Let every consumer of this process read its fetches by this stand-in for MemoryRecords."""
    aiokafka.consumer.fetcher.MemoryRecords = batches


def limit_fetch_wait(fetcher: Any, wait_ms: int) -> None:
    """Limit how long the next fetches wait for records."""
    fetcher._fetch_max_wait_ms = wait_ms


def replace_fetched(fetcher: Any, replace: Callable[[Any, Any], Any]) -> None:
    """After each fetch, put `replace(partition, records)` in the place of the PartitionRecords that it brought."""
    process = fetcher._proc_fetch_request

    async def processed(*request: Any) -> Any:
        has_new = await process(*request)
        for tp, result in fetcher._records.items():
            if type(result) is FetchResult and type(result._partition_records) is PartitionRecords:
                result._partition_records = replace(tp, result._partition_records)
        return has_new

    fetcher._proc_fetch_request = processed


class FetchedPartition:
    """What aiokafka's PartitionRecords knows of the batches that were fetched; they are read by somebody else."""

    def __init__(self, theirs: Any) -> None:
        self.tp = theirs._tp
        self.batches = theirs._records
        self.checks_checksums: bool = theirs._check_crcs
        self.next_fetch_offset: int = theirs.next_fetch_offset
        self._theirs = theirs
        theirs._records_iterator = None  # a reference cycle: the fetch would stay until the collector runs

    def is_passed_over(self, batch: Any) -> bool:
        """Whether a batch marks the end of a transaction, or belongs to one that was aborted."""
        theirs = self._theirs
        if theirs._isolation_level == READ_COMMITTED:
            theirs._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and theirs._contains_abort_marker(batch):
                theirs._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_control_batch or batch.producer_id in theirs._aborted_producers)


# Faust: its aiokafka driver


def kafka_consumer_of(thread: Any) -> Any:
    """The AIOKafkaConsumer of Faust's consumer thread; ConsumerNotStarted before it has one."""
    return thread._ensure_consumer()


def thread_of(consumer: Any) -> Any:
    """The thread of Faust's consumer."""
    return consumer._thread


def is_changelog(consumer: Any, tp: Any) -> bool:
    """Whether a partition is one of a changelog."""
    return bool(consumer._is_changelog_tp(tp))


def buffered_partitions(consumer: Any) -> Any:
    """The partitions that are read while tables recover."""
    return consumer._buffered_partitions


def committed_offsets(consumer: Any) -> Mapping[Any, int | None]:
    """The offset after the last committed record of each partition."""
    offsets: Mapping[Any, int | None] = consumer._committed_offset
    return offsets


def gaps(consumer: Any) -> MutableMapping[Any, Any]:
    """By partition, an interval tree of the offsets that are acknowledged without a message."""
    trees: MutableMapping[Any, Any] = consumer._gap
    return trees


def records_fetched(consumer: Any, timeout_s: float) -> Awaitable[Any]:
    """The records of the next fetch by partition, and which partitions are read (None: all)."""
    answer: Awaitable[Any] = consumer._wait_next_records(timeout_s)
    return answer


def message_of(consumer: Any, tp: Any, record: Any) -> Any:
    """Faust's message of one record."""
    return consumer._to_message(tp, record)


class ConsumerNames:
    """Goes before Faust's Consumer."""

    def _new_consumer_thread(self) -> Any:
        return self.new_thread()

    def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        return self.fetch(active_partitions, timeout)

    def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> Any:
        return self.add_gap(tp, offset_from, offset_to)

    def new_thread(self) -> Any:
        """Make the consumer's thread."""
        raise NotImplementedError

    async def fetch(self, active_partitions: Any, timeout_s: float) -> Any:
        """Fetch once, of these partitions (None: of all)."""
        theirs: Any = super()
        return await theirs._getmany(active_partitions, timeout_s)

    async def add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Note that these offsets, the last one included, are acknowledged without a message."""
        theirs: Any = super()
        await theirs._add_gap(tp, offset_from, offset_to)


class ConsumerThreadNames:
    """Goes before Faust's AIOKafkaConsumerThread."""

    def _create_consumer(self, loop: Any) -> Any:
        theirs: Any = self
        theirs._assignor = theirs.app.assignor
        return self.new_consumer()

    def new_consumer(self) -> Any:
        """Make the AIOKafkaConsumer; partitions are assigned by the app's own assignor."""
        raise NotImplementedError


class ProducerNames:
    """Goes before Faust's Producer."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        assert transactional_id is None, "our apps use no transactions"
        theirs: Any = self
        return self.new_producer(theirs._settings_default())

    def new_producer(self, settings: Mapping[str, Any]) -> Any:
        """Make the AIOKafkaProducer; `settings` are those that Faust would make it with."""
        raise NotImplementedError


# Faust: tables and streams


def recovery_of(tables: Any, make: Callable[[], Any]) -> Any:
    """The recovery of a table manager, made at the first call."""
    if tables._recovery is None:
        tables._recovery = make()
    return tables._recovery


class RecoveryNames:
    """Goes before Faust's Recovery."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await self.wait_step(coro, timeout)

    async def _build_offsets(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        await self.build_offsets(consumer, tps, destination, title)

    async def wait_step(self, coro: Any, timeout_s: Any) -> None:
        """Wait for a step of the recovery; ServiceStopped if it takes too long."""
        theirs: Any = super()
        await theirs._wait(coro, timeout_s)

    async def build_offsets(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        """Set in `destination` the last offset of each changelog that the local rows include."""
        theirs: Any = super()
        await theirs._build_offsets(consumer, tps, destination, title)


def database_of(store: Any, partition: int) -> Any:
    """The RocksDB of a partition in Faust's store."""
    return store._db_for_partition(partition)


class StoreNames:
    """Goes before Faust's RocksDB Store."""

    def _visible_items(self, db: Any) -> Iterator[tuple[bytes, bytes]]:
        return self.visible_items(db)

    def _visible_keys(self, db: Any) -> Iterator[bytes]:
        return (key for key, _ in self.visible_items(db))

    def visible_items(self, database: Any) -> Iterator[tuple[bytes, bytes]]:
        """All rows of a database except Faust's own."""
        raise NotImplementedError


def current_event() -> ContextVar[Any]:
    """The variable that holds a weak reference to the event to which table writes belong."""
    from faust.streams import _current_event

    return _current_event
