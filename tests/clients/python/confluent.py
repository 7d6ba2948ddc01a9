"""Speaks the client programs' contract with confluent-kafka, which is librdkafka."""

import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, OFFSET_BEGINNING, Producer, ShareConsumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec, ResourceType

import contract


class Client:
    def __init__(self, arguments):
        self.arguments = arguments
        self.topic = arguments.prefix

    def functions(self):
        return {
            "describe": self.describe,
            "create": lambda result: self.create(self.topic),
            "produce": lambda result: self.produce(self.topic, result, self.arguments.get("acked")),
            "produce0": self.produce0,
            "consume": lambda result: self.consume(f"{self.topic}-g", result),
            "consume848": lambda result: self.consume(f"{self.topic}-g848", result, {"group.protocol": "consumer"}),
            "transact": self.transact,
            "share": self.share,
            "stream": self.stream,
            "admin": self.admin,
        }

    def config(self, more=None):
        return {"bootstrap.servers": self.arguments["bootstrap"], **self.arguments.settings(), **(more or {})}

    def describe(self, result):
        admin = AdminClient(self.config())
        cluster = admin.describe_cluster().result()
        contract.describe(result, {node.id: f"{node.host}:{node.port}" for node in cluster.nodes})

    def create(self, topic):
        # The variable keeps the client alive: its answers die with it.
        admin = AdminClient(self.config())
        admin.create_topics([NewTopic(topic, contract.PARTITIONS, contract.REPLICAS)])[topic].result()

    def create_unless_there(self, topic):
        try:
            self.create(topic)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def producer(self, more=None):
        return Producer(self.config({"acks": "all", "enable.idempotence": True, "linger.ms": 1, "message.timeout.ms": 60_000, **(more or {})}))

    @staticmethod
    def send(producer, topic, sequence, acknowledged):
        key, value = contract.record(topic, sequence)

        def settle(error, _):
            acknowledged.settle(sequence, error)

        producer.produce(topic, key=key, value=value, on_delivery=settle)
        producer.poll(0)

    def produce(self, topic, result, acked=None, more=None):
        acknowledged = contract.Acknowledged(acked)
        producer = self.producer(more)
        for sequence in range(self.arguments.count):
            self.send(producer, topic, sequence, acknowledged)
        producer.flush()
        acknowledged.judge(result, self.arguments.count)

    def produce0(self, result):
        topic = f"{self.topic}-a0"
        self.create_unless_there(topic)
        self.produce(topic, result, more={"acks": 0, "enable.idempotence": False})

    def stream(self, result):
        acknowledged = contract.Acknowledged(self.arguments.get("acked"))
        producer = self.producer()
        pace = contract.Pace(self.arguments)
        sent = 0
        while (due := pace.due()) is not None:
            for sequence in range(sent, due):
                self.send(producer, self.topic, sequence, acknowledged)
            sent = max(sent, due)
            producer.poll(0.005)
        producer.flush()
        acknowledged.judge(result, sent)

    def consume(self, group, result, more=None):
        check = contract.Check(self.topic, name=self.arguments.get("out"))
        config = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = Consumer(self.config({**config, **(more or {})}))
        try:
            consumer.subscribe([self.topic])
            deadline = time.monotonic() + self.arguments.timeout
            while len(check.values) < self.arguments.count and time.monotonic() < deadline:
                for message in consumer.consume(500, timeout=0.05):
                    see(check, message)
            if check.values:
                consumer.commit(asynchronous=False)
        finally:
            consumer.close()
        check.judge(result, self.arguments.count)

    def transact(self, result):
        topic = f"{self.topic}-tx"
        self.create_unless_there(topic)
        acknowledged = contract.Acknowledged()
        producer = self.producer({"transactional.id": topic})
        producer.init_transactions()
        for first, last in contract.batches(self.arguments.count):
            producer.begin_transaction()
            for sequence in range(first, last):
                self.send(producer, topic, sequence, acknowledged)
            producer.flush()
            if contract.committed(first):
                producer.commit_transaction()
            else:
                producer.abort_transaction()
        acknowledged.judge(result, self.arguments.count)
        self.read_committed(topic, result)

    def read_committed(self, topic, result):
        """Reads each partition to its end, so that an aborted record at the very end would be seen too."""
        check = contract.Check(topic)
        config = {"group.id": f"{topic}-g", "isolation.level": "read_committed", "enable.partition.eof": True}
        consumer = Consumer(self.config(config))
        try:
            consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(contract.PARTITIONS)])
            ended = set()
            deadline = time.monotonic() + self.arguments.timeout
            while len(ended) < contract.PARTITIONS and time.monotonic() < deadline:
                for message in consumer.consume(500, timeout=0.05):
                    if message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                    else:
                        see(check, message)
        finally:
            consumer.close()
        check.judge_committed(result, self.arguments.count)

    def share(self, result):
        group = f"{self.topic}-s"
        earliest = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[earliest])
        admin = AdminClient(self.config())
        admin.incremental_alter_configs([resource])[resource].result()
        check = contract.Check(self.topic, ordered=False, name=self.arguments.get("out"))
        consumer = ShareConsumer(self.config({"group.id": group, "share.acknowledgement.mode": "explicit"}))
        try:
            consumer.subscribe([self.topic])
            deadline = time.monotonic() + self.arguments.timeout
            while len(check.values) < self.arguments.count and time.monotonic() < deadline:
                for message in consumer.poll(0.1):
                    see(check, message)
                    consumer.acknowledge(message)
                for partition, refused in consumer.commit_sync().items():
                    if refused is not None:
                        check.fail(f"acknowledgement refused: {partition}: {refused}")
        finally:
            consumer.close()
        check.judge(result, self.arguments.count)

    def admin(self, result):
        admin = AdminClient(self.config())
        group = f"{self.topic}-g"
        topics = confluent_kafka.TopicCollection([self.topic])
        partitions = admin.describe_topics(topics)[self.topic].result().partitions
        broker = admin.describe_cluster().result().nodes[0].id
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        configs = admin.describe_configs([resource])[resource].result()
        state = admin.describe_consumer_groups([group])[group].result().state
        offsets = {TopicPartition(self.topic, n): OffsetSpec.latest() for n in range(contract.PARTITIONS)}
        ends = sum(future.result().offset for future in admin.list_offsets(offsets).values())
        listed = len(admin.list_consumer_groups().result().valid)
        result.detail = f"partitions={len(partitions)},configs={len(configs)},group={state.name},offsets={ends},groups={listed}"


def see(check, message):
    if message.error() is not None:
        raise KafkaException(message.error())
    check.see(message.partition(), message.offset(), message.key(), message.value())


contract.run(
    f"confluent-kafka {confluent_kafka.__version__} librdkafka {confluent_kafka.libversion()[0]}",
    lambda arguments: Client(arguments).functions(),
)
