"""Speaks the client programs' contract with aiokafka."""

import asyncio
import logging
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

import contract


class Client:
    def __init__(self, arguments):
        self.arguments = arguments
        self.topic = arguments.prefix
        self.common = {"bootstrap_servers": arguments.get("bootstrap")}
        context = arguments.tls()
        if context is not None:
            self.common |= {"security_protocol": "SSL", "ssl_context": context}

    def functions(self):
        def blocking(function):
            return lambda result: asyncio.run(function(result))

        return {
            "describe": blocking(self.describe),
            "create": blocking(lambda result: self.create(self.topic)),
            "produce": blocking(lambda result: self.produce(self.topic, result, self.arguments.get("acked"))),
            "produce0": blocking(self.produce0),
            "consume": blocking(self.consume),
            "transact": blocking(self.transact),
            "stream": blocking(self.stream),
            "admin": blocking(self.admin),
        }

    def admin_client(self):
        return Started(AIOKafkaAdminClient(**self.common), "close")

    def producer(self, **more):
        settings = {"acks": "all", "enable_idempotence": True, **more}
        return Started(AIOKafkaProducer(**self.common, **settings), "stop")

    def consumer(self, *topics, **more):
        return Started(AIOKafkaConsumer(*topics, **self.common, fetch_max_wait_ms=100, **more), "stop")

    async def describe(self, result):
        async with self.admin_client() as admin:
            cluster = await admin.describe_cluster()
        contract.describe(result, {node["node_id"]: f"{node['host']}:{node['port']}" for node in cluster["brokers"]})

    async def create(self, topic):
        async with self.admin_client() as admin:
            response = await admin.create_topics([NewTopic(topic, contract.PARTITIONS, contract.REPLICAS)])
        refuse(response.topic_errors[0][1])

    async def create_unless_there(self, topic):
        try:
            await self.create(topic)
        except TopicAlreadyExistsError:
            pass

    @staticmethod
    async def send(producer, topic, sequence, acknowledged):
        key, value = contract.record(topic, sequence)
        future = await producer.send(topic, key=key, value=value)
        future.add_done_callback(lambda done: acknowledged.settle(sequence, done.exception()))

    async def produce(self, topic, result, acked=None, **more):
        acknowledged = contract.Acknowledged(acked)
        async with self.producer(**more) as producer:
            for sequence in range(self.arguments.count):
                await self.send(producer, topic, sequence, acknowledged)
            await producer.flush()
        acknowledged.judge(result, self.arguments.count)

    async def produce0(self, result):
        topic = f"{self.topic}-a0"
        await self.create_unless_there(topic)
        await self.produce(topic, result, acks=0, enable_idempotence=False)

    async def stream(self, result):
        acknowledged = contract.Acknowledged(self.arguments.get("acked"))
        sent = 0
        async with self.producer() as producer:
            pace = contract.Pace(self.arguments)
            while (due := pace.due()) is not None:
                for sequence in range(sent, due):
                    await self.send(producer, self.topic, sequence, acknowledged)
                sent = max(sent, due)
                await asyncio.sleep(0.005)
            await producer.flush()
        acknowledged.judge(result, sent)

    async def consume(self, result):
        check = contract.Check(self.topic, name=self.arguments.get("out"))
        settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
        async with self.consumer(self.topic, group_id=f"{self.topic}-g", **settings) as consumer:
            await self.read(consumer, check, self.enough(check))
            await consumer.commit()
        check.judge(result, self.arguments.count)

    def enough(self, check):
        async def done():
            return len(check.values) >= self.arguments.count

        return done

    async def read(self, consumer, check, done):
        deadline = time.monotonic() + self.arguments.timeout
        while not await done() and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=50)).values():
                for record in records:
                    check.see(record.partition, record.offset, record.key, record.value)

    async def transact(self, result):
        topic = f"{self.topic}-tx"
        await self.create_unless_there(topic)
        acknowledged = contract.Acknowledged()
        async with self.producer(transactional_id=topic) as producer:
            for first, last in contract.batches(self.arguments.count):
                await producer.begin_transaction()
                for sequence in range(first, last):
                    await self.send(producer, topic, sequence, acknowledged)
                await producer.flush()
                if contract.committed(first):
                    await producer.commit_transaction()
                else:
                    await producer.abort_transaction()
        acknowledged.judge(result, self.arguments.count)
        await self.read_committed(topic, result)

    async def read_committed(self, topic, result):
        """Reads each partition to its end, so that an aborted record at the very end would be seen too."""
        check = contract.Check(topic)
        partitions = [TopicPartition(topic, n) for n in range(contract.PARTITIONS)]
        async with self.consumer(isolation_level="read_committed") as consumer:
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)

            async def done():
                return all([await consumer.position(partition) >= ends[partition] for partition in partitions])

            await self.read(consumer, check, done)
        check.judge_committed(result, self.arguments.count)

    async def admin(self, result):
        group = f"{self.topic}-g"
        async with self.admin_client() as admin:
            topic = (await admin.describe_topics([self.topic]))[0]
            refuse(topic["error_code"])
            broker = (await admin.describe_cluster())["brokers"][0]["node_id"]
            configs = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker))])
            refuse(configs[0].resources[0][0])
            described = (await admin.describe_consumer_groups([group]))[0].groups[0]
            refuse(described[0])
            committed = await admin.list_consumer_group_offsets(group)
            groups = await admin.list_consumer_groups()
        async with self.consumer() as consumer:
            ends = await consumer.end_offsets([TopicPartition(self.topic, n) for n in range(contract.PARTITIONS)])
        counts = {"partitions": topic["partitions"], "configs": configs[0].resources[0][4], "committed": committed, "groups": groups}
        detail = [f"{name}={len(items)}" for name, items in counts.items()]
        result.detail = ",".join([*detail, f"group={described[2]}", f"offsets={sum(ends.values())}"])


class Started:
    """Starts a client on entry and stops it on exit."""

    def __init__(self, client, stop):
        self.client = client
        self.stop = stop

    async def __aenter__(self):
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await getattr(self.client, self.stop)()


def refuse(code):
    if code:
        raise for_code(code)


logging.basicConfig(level=logging.WARNING)
contract.run(f"aiokafka {aiokafka.__version__}", lambda arguments: Client(arguments).functions())
