import java.util.Collections;
import java.util.Set;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;

/** kafka-clients 3.9: groups of the consumer protocol (KIP-848), and admin calls that ask every broker. */
class Kafka3 extends Since2 {
    public static void main(String[] words) {
        new Kafka3().execute(words);
    }

    @Override
    protected Set<String> supported() {
        Set<String> functions = super.supported();
        functions.add("consume848");
        return functions;
    }

    @Override
    protected int partitions(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(Collections.singleton(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    @Override
    protected void more(AdminClient admin, String topic, StringBuilder detail) throws Exception {
        super.more(admin, topic, detail);
        TopicPartition partition = new TopicPartition(topic, 0);
        ask(detail, "latest", () -> admin.listOffsets(Collections.singletonMap(partition, OffsetSpec.latest())).all().get().get(partition).offset());
        ask(detail, "producers", () -> admin.describeProducers(Collections.singleton(partition)).all().get().get(partition).activeProducers().size());
        ask(detail, "transactions", () -> admin.listTransactions().all().get().size());
        ask(detail, "voters", () -> admin.describeMetadataQuorum().quorumInfo().get().voters().size());
    }
}
