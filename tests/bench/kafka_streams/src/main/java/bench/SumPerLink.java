package bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Sums bytes per link and 10 s window by the record's own time, with the Processor API over a cached RocksDB window
 * store that has a changelog. Variant "combined" adds up a message's records first; else every record is a store update.
 * Arguments: broker, topic, records, application id, state directory, variant. Reports one JSON line, as report.py has it.
 */
public final class SumPerLink {
    private static final long WINDOW_S = 10;
    private static final String STORE = "sums";
    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static final Map<String, Long> FOUND = new TreeMap<>();
    private static long firstNanos;
    private static volatile long committedNanos;
    private static long seen;

    private record Slot(long link, long start) { }

    private static final class Sum implements Processor<byte[], byte[], Void, Void> {
        private final FlowReader reader = new FlowReader();
        private final Map<Slot, long[]> combined = new HashMap<>();
        private final long wanted;
        private final FlowReader.Sink sink;
        private ProcessorContext<Void, Void> context;
        private WindowStore<Long, Long> store;

        Sum(long wanted, boolean combine) {
            this.wanted = wanted;
            sink = combine ? this::combine : this::add;
        }

        @Override
        public void init(ProcessorContext<Void, Void> given) {
            context = given;
            store = given.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> message) {
            if (firstNanos == 0) {
                firstNanos = System.nanoTime();
            }
            if (seen >= wanted) {
                return;
            }
            seen += reader.read(message.value(), sink);
            combined.forEach((slot, bytes) -> put(slot.link, slot.start, bytes[0]));
            combined.clear();
            if (seen >= wanted) {
                collect();
                context.commit();
                DONE.countDown();
            }
        }

        private void combine(long link, long second, long bytes) {
            combined.computeIfAbsent(new Slot(link, second / WINDOW_S * WINDOW_S), slot -> new long[1])[0] += bytes;
        }

        private void add(long link, long second, long bytes) {
            put(link, second / WINDOW_S * WINDOW_S, bytes);
        }

        private void put(long link, long start, long bytes) {
            Long before = store.fetch(link, start * 1000);
            store.put(link, before == null ? bytes : before + bytes, start * 1000);
        }

        private void collect() {
            try (var rows = store.all()) {
                rows.forEachRemaining(row -> FOUND.put(name(row.key.key(), row.key.window().start()), row.value));
            }
        }

        private static String name(long link, long startMs) {
            long agent = link >>> 32;
            return "%d.%d.%d.%d/%d@%d".formatted(
                agent >> 24 & 255, agent >> 16 & 255, agent >> 8 & 255, agent & 255, link & 0xffffffffL, startMs / 1000);
        }
    }

    /** Notes when the first commit after the last record was answered; commits are made by the processing thread. */
    public static final class CommitClock implements ConsumerInterceptor<byte[], byte[]> {
        @Override
        public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
            return records;
        }

        @Override
        public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
            if (DONE.getCount() == 0 && committedNanos == 0) {
                committedNanos = System.nanoTime();
            }
        }

        @Override
        public void close() { }

        @Override
        public void configure(Map<String, ?> configs) { }
    }

    private static Topology topology(String topic, long wanted, boolean combine) {
        var store = Stores.windowStoreBuilder(
            Stores.persistentWindowStore(STORE, Duration.ofHours(1), Duration.ofSeconds(WINDOW_S), false),
            Serdes.Long(), Serdes.Long());
        var bytes = Serdes.ByteArray().deserializer();
        return new Topology()
            .addSource("flows", bytes, bytes, topic)
            .addProcessor("sum", () -> new Sum(wanted, combine), "flows")
            .addStateStore(store.withCachingEnabled().withLoggingEnabled(Map.of()), "sum");
    }

    /** What is not Kafka Streams' default. */
    private static Map<String, Object> settings() {
        var settings = new TreeMap<String, Object>();
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 67_108_864);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 8_388_608);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return settings;
    }

    public static void main(String[] args) throws InterruptedException {
        var properties = new Properties();
        properties.putAll(settings());
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args[3]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        properties.put(
            StreamsConfig.mainConsumerPrefix(ConsumerConfig.INTERCEPTOR_CLASSES_CONFIG), CommitClock.class.getName());
        var combine = args.length > 5 && args[5].equals("combined");
        var streams = new KafkaStreams(topology(args[1], Long.parseLong(args[2]), combine), properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            DONE.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        DONE.await();
        streams.close();
        System.out.println(report());
    }

    private static String report() {
        List<String> sums = new ArrayList<>();
        FOUND.forEach((name, bytes) -> sums.add("\"" + name + "\": " + bytes));
        List<String> told = new ArrayList<>();
        settings().forEach((key, value) ->
            told.add("\"" + key + "\": " + (value instanceof String ? "\"" + value + "\"" : value)));
        return "{\"records\": %d, \"seconds\": %s, \"sums\": {%s}, \"settings\": {%s}}".formatted(
            seen, (committedNanos - firstNanos) / 1e9, String.join(", ", sums), String.join(", ", told));
    }
}
