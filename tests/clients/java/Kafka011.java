import java.util.Collections;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** kafka-clients 0.11: the first with AdminClient, idempotence and transactions. */
final class Kafka011 extends Client {
    public static void main(String[] words) {
        new Kafka011().execute(words);
    }

    @Override
    protected ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer, long ms) {
        return consumer.poll(ms);
    }

    @Override
    protected int partitions(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(Collections.singleton(topic)).all().get().get(topic).partitions().size();
    }

    @Override
    protected int inFlight() {
        return 1;
    }
}
