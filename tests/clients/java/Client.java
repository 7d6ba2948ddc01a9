import java.io.File;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnsupportedVersionException;

/** The functions, written in the API that kafka-clients has had from 0.11 to today; a subclass for each era adds the rest. */
abstract class Client {
    private static final int TRANSACTION = 50;

    protected Arguments arguments;

    /** Polls once; the method's argument changed from a number to a Duration in 2.0. */
    protected abstract ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer, long ms);

    /** Partitions of a topic as Admin.describeTopics tells them; its result type changed in 3.1 and lost the old form in 4.0. */
    protected abstract int partitions(AdminClient admin, String topic) throws Exception;

    /** Unacknowledged requests that still keep order in this version's idempotent producer. */
    protected int inFlight() {
        return 5;
    }

    protected Set<String> supported() {
        return new TreeSet<>(Arrays.asList(
                "describe", "create", "produce", "produce0", "consume", "transact", "stream", "admin", "supported", "version"));
    }

    /** Runs the functions in the order given and never returns. */
    final void execute(String[] words) {
        List<String> functions;
        try {
            arguments = new Arguments(words);
            functions = Arrays.asList(arguments.required("functions").split(","));
            if (!functions.stream().allMatch(function -> function.equals("version") || function.equals("supported"))) {
                arguments.bootstrap();
                arguments.prefix();
            }
        } catch (IllegalArgumentException wrong) {
            System.err.println(wrong.getMessage());
            System.exit(2);
            return;
        }
        boolean ok = true;
        for (String function : functions) {
            long start = System.nanoTime();
            Result result = new Result();
            try {
                run(function, result);
            } catch (Exception failure) {
                failure.printStackTrace();
                result.fail(failure.toString());
            }
            ok &= result.ok();
            System.out.println(result.json(function, (System.nanoTime() - start) / 1_000_000));
        }
        System.exit(ok ? 0 : 1);
    }

    private void run(String function, Result result) throws Exception {
        if (!supported().contains(function)) {
            result.fail("unsupported: " + function);
            return;
        }
        String topic = arguments.optional("prefix");
        switch (function) {
            case "describe": describe(result); break;
            case "create": create(topic); break;
            case "produce": produce(topic, "all", result); break;
            case "produce0": createUnlessThere(topic + "-a0"); produce(topic + "-a0", "0", result); break;
            case "consume": consume(topic, topic + "-g", "classic", result); break;
            case "consume848": consume(topic, topic + "-g848", "consumer", result); break;
            case "transact": createUnlessThere(topic + "-tx"); transact(topic + "-tx", result); break;
            case "share": share(topic, topic + "-s", result); break;
            case "stream": stream(topic, result); break;
            case "admin": admin(topic, result); break;
            case "supported": result.detail = String.join(",", supported()); break;
            default: result.detail = version();
        }
    }

    private static String version() throws Exception {
        Properties properties = new Properties();
        try (InputStream in = Client.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            properties.load(in);
        }
        return "kafka-clients " + properties.getProperty("version");
    }

    private void describe(Result result) throws Exception {
        try (AdminClient admin = AdminClient.create(arguments.properties())) {
            Collection<Node> nodes = admin.describeCluster().nodes().get();
            TreeMap<Integer, String> addresses = new TreeMap<>();
            nodes.forEach(node -> addresses.put(node.id(), node.host() + ":" + node.port()));
            result.detail = addresses.entrySet().stream().map(e -> e.getKey() + "=" + e.getValue()).collect(Collectors.joining(","));
            if (addresses.size() != 3) {
                result.fail("brokers: " + result.detail);
            }
        }
    }

    private void create(String topic) throws Exception {
        try (AdminClient admin = AdminClient.create(arguments.properties())) {
            admin.createTopics(Collections.singleton(new NewTopic(topic, 3, (short) 3))).all().get();
        }
    }

    private void createUnlessThere(String topic) throws Exception {
        try {
            create(topic);
        } catch (ExecutionException failure) {
            if (!(failure.getCause() instanceof TopicExistsException)) {
                throw failure;
            }
        }
    }

    private Properties producer(String acks) {
        Properties properties = arguments.properties();
        properties.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("acks", acks);
        properties.putIfAbsent("enable.idempotence", acks.equals("all") ? "true" : "false");
        properties.put("max.in.flight.requests.per.connection", String.valueOf(inFlight()));
        return properties;
    }

    private static ProducerRecord<String, String> record(String topic, long sequence) {
        return new ProducerRecord<>(topic, "k" + sequence % 16, topic + ":" + sequence);
    }

    private void produce(String topic, String acks, Result result) throws Exception {
        int count = arguments.count();
        String file = acks.equals("all") ? arguments.optional("acked") : null;
        try (Acknowledged acknowledged = new Acknowledged(file)) {
            try (KafkaProducer<String, String> producer = new KafkaProducer<>(producer(acks))) {
                for (long sequence = 0; sequence < count; sequence++) {
                    producer.send(record(topic, sequence), acknowledged.of(sequence));
                }
                producer.flush();
            }
            acknowledged.judge(result, count);
        }
    }

    private void stream(String topic, Result result) throws Exception {
        long rate = Long.parseLong(arguments.required("rate"));
        long span = TimeUnit.SECONDS.toNanos(Long.parseLong(arguments.required("seconds")));
        try (Acknowledged acknowledged = new Acknowledged(arguments.optional("acked"))) {
            long sequence = 0;
            try (KafkaProducer<String, String> producer = new KafkaProducer<>(producer("all"))) {
                long start = System.nanoTime();
                String stop = arguments.optional("stop");
                for (long spent = 0; spent < span && (stop == null || !new File(stop).exists()); spent = System.nanoTime() - start) {
                    for (long due = spent * rate / 1_000_000_000; sequence < due; sequence++) {
                        producer.send(record(topic, sequence), acknowledged.of(sequence));
                    }
                    Thread.sleep(5);
                }
                producer.flush();
            }
            acknowledged.judge(result, sequence);
        }
    }

    protected final Properties consumer(String group) {
        Properties properties = arguments.properties();
        properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("group.id", group);
        return properties;
    }

    private void consume(String topic, String group, String protocol, Result result) throws Exception {
        Properties properties = consumer(group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        if (!protocol.equals("classic")) {
            properties.put("group.protocol", protocol);
        }
        try (Check check = new Check(topic, true, arguments.optional("out"));
                KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            consumer.subscribe(Collections.singleton(topic));
            long deadline = System.nanoTime() + arguments.timeoutMs() * 1_000_000;
            while (check.distinct() < arguments.count() && System.nanoTime() < deadline) {
                poll(consumer, 100).forEach(check::see);
            }
            consumer.commitSync();
            check.judge(result, arguments.count());
        }
    }

    private void transact(String topic, Result result) throws Exception {
        int count = arguments.count();
        Properties properties = producer("all");
        properties.put("transactional.id", topic);
        try (Acknowledged acknowledged = new Acknowledged(null);
                KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            producer.initTransactions();
            for (long batch = 0; batch < count; batch += TRANSACTION) {
                producer.beginTransaction();
                for (long sequence = batch; sequence < Math.min(batch + TRANSACTION, count); sequence++) {
                    producer.send(record(topic, sequence), acknowledged.of(sequence));
                }
                producer.flush();
                if (committed(batch)) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
            acknowledged.judge(result, count);
        }
        readCommitted(topic, count, result);
    }

    private static boolean committed(long sequence) {
        return sequence / TRANSACTION % 2 == 0;
    }

    /** Reads to the last stable offset, so that an aborted record at the very end would be seen too. */
    private void readCommitted(String topic, int count, Result result) throws Exception {
        Properties properties = consumer(topic + "-g");
        properties.put("isolation.level", "read_committed");
        try (Check check = new Check(topic, true, null);
                KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition())).collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            TreeMap<Integer, Long> ends = new TreeMap<>();
            consumer.endOffsets(partitions).forEach((partition, end) -> ends.put(partition.partition(), end));
            long deadline = System.nanoTime() + arguments.timeoutMs() * 1_000_000;
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p.partition())) && System.nanoTime() < deadline) {
                poll(consumer, 100).forEach(check::see);
            }
            long expected = 0;
            for (long sequence = 0; sequence < count; sequence++) {
                if (committed(sequence)) {
                    expected++;
                } else if (check.contains(sequence)) {
                    result.fail("read aborted " + sequence);
                }
            }
            check.judge(result, expected);
        }
    }

    /** Reads through a share group where the version has them. */
    protected void share(String topic, String group, Result result) throws Exception {
        throw new UnsupportedOperationException("share");
    }

    private void admin(String topic, Result result) throws Exception {
        StringBuilder detail = new StringBuilder();
        try (AdminClient admin = AdminClient.create(arguments.properties())) {
            ask(detail, "partitions", () -> partitions(admin, topic));
            int broker = admin.describeCluster().nodes().get().iterator().next().id();
            ConfigResource resource = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(broker));
            ask(detail, "configs", () -> admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource).entries().size());
            ask(detail, "offsets", () -> endOffsets(topic));
            more(admin, topic, detail);
        }
        result.detail = detail.toString();
    }

    /** The calls that later versions added, through {@link #ask}. */
    protected void more(AdminClient admin, String topic, StringBuilder detail) throws Exception {
    }

    private long endOffsets(String topic) {
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(consumer(topic + "-g"))) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition())).collect(Collectors.toList());
            return consumer.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum();
        }
    }

    interface Question {
        Object answer() throws Exception;
    }

    /** Adds name=answer; a call that broker and client share no version of is "unsupported", every other failure is the function's. */
    protected static void ask(StringBuilder detail, String name, Question question) throws Exception {
        Object answer;
        try {
            answer = question.answer();
        } catch (ExecutionException failure) {
            if (!(failure.getCause() instanceof UnsupportedVersionException)) {
                throw failure;
            }
            answer = "unsupported";
        }
        detail.append(detail.length() == 0 ? "" : ",").append(name).append('=').append(answer);
    }
}
