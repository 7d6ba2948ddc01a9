import java.io.FileWriter;
import java.io.IOException;
import java.io.PrintWriter;
import org.apache.kafka.clients.producer.Callback;

/** Counts what the broker acknowledged and refused, and appends each acknowledged sequence number to a file where one is named. */
final class Acknowledged implements AutoCloseable {
    private final PrintWriter file;
    private long count;
    private Exception failure;

    Acknowledged(String name) throws IOException {
        file = name == null ? null : new PrintWriter(new FileWriter(name, true), true);
    }

    Callback of(long sequence) {
        return (metadata, error) -> settle(sequence, error);
    }

    private synchronized void settle(long sequence, Exception error) {
        if (error != null) {
            failure = error;
            return;
        }
        count++;
        if (file != null) {
            file.println(sequence);
        }
    }

    synchronized void judge(Result result, long expected) {
        result.sent = count;
        if (failure != null) {
            result.fail(failure.toString());
        } else if (count != expected) {
            result.fail("acknowledged " + count + " of " + expected);
        }
    }

    @Override
    public void close() {
        if (file != null) {
            file.close();
        }
    }
}
