import java.time.Duration;
import java.util.Collection;
import java.util.Collections;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.config.ConfigResource;

/** kafka-clients 4.4: share groups. */
final class Kafka4 extends Kafka3 {
    public static void main(String[] words) {
        new Kafka4().execute(words);
    }

    @Override
    protected Set<String> supported() {
        Set<String> functions = super.supported();
        functions.add("share");
        return functions;
    }

    @Override
    protected void share(String topic, String group, Result result) throws Exception {
        try (AdminClient admin = AdminClient.create(arguments.properties())) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
            Collection<AlterConfigOp> earliest = Collections.singleton(
                    new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET));
            admin.incrementalAlterConfigs(Collections.singletonMap(resource, earliest)).all().get();
        }
        Properties properties = consumer(group);
        properties.put("share.acknowledgement.mode", "explicit");
        try (Check check = new Check(topic, false, arguments.optional("out"));
                KafkaShareConsumer<String, String> consumer = new KafkaShareConsumer<>(properties)) {
            consumer.subscribe(Collections.singleton(topic));
            long deadline = System.nanoTime() + arguments.timeoutMs() * 1_000_000;
            while (check.distinct() < arguments.count() && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    check.see(record);
                    consumer.acknowledge(record);
                }
                for (Optional<KafkaException> refused : consumer.commitSync().values()) {
                    refused.ifPresent(error -> result.fail("acknowledgement refused: " + error));
                }
            }
            check.judge(result, arguments.count());
        }
    }
}
