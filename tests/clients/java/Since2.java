import java.time.Duration;
import java.util.Collections;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** What is the same from 2.0 to today. */
@SuppressWarnings({"deprecation", "removal"})
abstract class Since2 extends Client {
    @Override
    protected ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer, long ms) {
        return consumer.poll(Duration.ofMillis(ms));
    }

    @Override
    protected void more(AdminClient admin, String topic, StringBuilder detail) throws Exception {
        String group = topic + "-g";
        boolean there = admin.listConsumerGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group));
        if (there) {
            ask(detail, "group", () -> admin.describeConsumerGroups(Collections.singleton(group)).all().get().get(group).state());
            ask(detail, "committed", () -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size());
        }
    }
}
