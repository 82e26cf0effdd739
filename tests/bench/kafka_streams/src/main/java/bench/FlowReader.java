package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;

/** Reads the lines of a message with one streaming parser and without making an object per record. */
final class FlowReader {
    interface Sink {
        /** One flow: its link (address in the high half, ifIndex in the low), second, and bytes after scaling. */
        void flow(long link, long second, long bytes);
    }

    private final JsonFactory json = new JsonFactory();

    /** Passes every flow of a message on; the number of them. Purge markers are left out. */
    int read(byte[] message, Sink sink) {
        int flows = 0;
        try (JsonParser parser = json.createParser(message)) {
            while (parser.nextToken() == JsonToken.START_OBJECT) {
                if (readOne(parser, sink)) {
                    flows++;
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return flows;
    }

    private static boolean readOne(JsonParser parser, Sink sink) throws IOException {
        long agent = 0, index = 0, rate = 0, second = 0, bytes = 0;
        boolean purge = false;
        String name;
        while ((name = parser.nextFieldName()) != null) {
            parser.nextToken();
            switch (name) {
                case "event_type" -> purge = parser.getTextLength() == "purge".length();
                case "peer_ip_src" -> agent = address(parser);
                case "iface_out" -> index = parser.getLongValue();
                case "sampling_rate" -> rate = parser.getLongValue();
                case "timestamp_arrival" -> second = wholeSeconds(parser);
                case "bytes" -> bytes = parser.getLongValue();
                default -> { }
            }
        }
        if (purge) {
            sink.flow(agent << 32 | index, second, bytes * rate);
        }
        return purge;
    }

    /** An IPv4 address as a number. */
    private static long address(JsonParser parser) throws IOException {
        char[] text = parser.getTextCharacters();
        int at = parser.getTextOffset();
        long address = 0, part = 0;
        for (int end = at + parser.getTextLength(); at < end; at++) {
            if (text[at] == '.') {
                address = address << 8 | part;
                part = 0;
            } else {
                part = part * 10 + text[at] - '0';
            }
        }
        return address << 8 | part;
    }

    private static long wholeSeconds(JsonParser parser) throws IOException {
        char[] text = parser.getTextCharacters();
        int at = parser.getTextOffset();
        long seconds = 0;
        for (int end = at + parser.getTextLength(); at < end && text[at] != '.'; at++) {
            seconds = seconds * 10 + text[at] - '0';
        }
        return seconds;
    }
}
