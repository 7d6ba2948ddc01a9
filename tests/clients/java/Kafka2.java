import java.util.Collections;
import org.apache.kafka.clients.admin.AdminClient;

/** kafka-clients 2.4 and 2.8. */
@SuppressWarnings("deprecation")
final class Kafka2 extends Since2 {
    public static void main(String[] words) {
        new Kafka2().execute(words);
    }

    @Override
    protected int partitions(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(Collections.singleton(topic)).all().get().get(topic).partitions().size();
    }
}
