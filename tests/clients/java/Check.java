import java.io.FileWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** What must be true of the records a consumer reads: values of our own, none twice, and order within partition and key. */
final class Check implements AutoCloseable {
    private final String topic;
    private final boolean ordered;
    private final PrintWriter out;
    private final Set<String> values = new HashSet<>();
    private final Map<Integer, Long> offsets = new HashMap<>();
    private final Map<String, Long> sequences = new HashMap<>();
    private String fault;

    /** Share groups may deliver out of order, so order is checked only where asked for; file may be null. */
    Check(String topic, boolean ordered, String file) throws IOException {
        this.topic = topic;
        this.ordered = ordered;
        this.out = file == null ? null : new PrintWriter(new FileWriter(file, true), true);
    }

    void see(ConsumerRecord<String, String> record) {
        if (out != null) {
            out.println(record.partition() + " " + record.offset() + " " + record.value());
        }
        if (!record.value().startsWith(topic + ":")) {
            fault("foreign value " + record.value());
            return;
        }
        if (!values.add(record.value())) {
            fault("duplicate " + record.value());
        }
        if (ordered) {
            long sequence = Long.parseLong(record.value().substring(topic.length() + 1));
            Long offset = offsets.put(record.partition(), record.offset());
            Long before = sequences.put(record.key(), sequence);
            if (offset != null && offset >= record.offset()) {
                fault("offset went back at " + record.partition() + "/" + record.offset());
            }
            if (before != null && before >= sequence) {
                fault("key " + record.key() + " went back at " + sequence);
            }
        }
    }

    long distinct() {
        return values.size();
    }

    boolean contains(long sequence) {
        return values.contains(topic + ":" + sequence);
    }

    void judge(Result result, long expected) {
        result.read = distinct();
        if (fault != null) {
            result.fail(fault);
        }
        if (distinct() != expected) {
            result.fail("read " + distinct() + " of " + expected);
        }
    }

    private void fault(String reason) {
        if (fault == null) {
            fault = reason;
        }
    }

    @Override
    public void close() {
        if (out != null) {
            out.close();
        }
    }
}
