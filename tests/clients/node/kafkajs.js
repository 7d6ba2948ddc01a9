// Speaks the client programs' contract with kafkajs.
'use strict'

const fs = require('fs')
const { Kafka, Partitioners, ConfigResourceTypes, logLevel } = require('kafkajs')
const { version } = require('kafkajs/package.json')
const contract = require('./contract.js')

// How long to listen for a record too many; kafkajs does not tell that it passed the control records at the end.
const QUIET_MS = 300

class Client {
  constructor(args) {
    this.args = args
    this.topic = args.prefix
    this.kafka = new Kafka({
      brokers: [args.bootstrap],
      ssl: contract.tls(args),
      logLevel: logLevel.WARN,
      logCreator: () => ({ namespace, log }) => console.error(namespace, log.message, log.error ?? ''),
      retry: { retries: 60, maxRetryTime: 1000 },
    })
  }

  functions() {
    const { topic, args } = this
    return {
      describe: (result) => this.describe(result),
      create: () => this.create(topic),
      produce: (result) => this.produce(topic, { idempotent: true }, -1, args.acked, result),
      produce0: (result) => this.produce0(result),
      stream: (result) => this.stream(result),
      consume: (result) => this.consume(result),
      transact: (result) => this.transact(result),
      admin: (result) => this.admin(result),
    }
  }

  async withAdmin(work) {
    const admin = this.kafka.admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  }

  async withProducer(options, work) {
    const producer = this.kafka.producer({ maxInFlightRequests: 1, createPartitioner: Partitioners.DefaultPartitioner, ...options })
    await producer.connect()
    try {
      return await work(producer)
    } finally {
      await producer.disconnect()
    }
  }

  async describe(result) {
    const { brokers } = await this.withAdmin((admin) => admin.describeCluster())
    brokers.sort((a, b) => a.nodeId - b.nodeId)
    result.detail = brokers.map(({ nodeId, host, port }) => `${nodeId}=${host}:${port}`).join()
    if (brokers.length !== 3) throw new contract.Failed(`brokers: ${result.detail}`)
  }

  async createUnlessThere(topic) {
    const topics = [{ topic, numPartitions: contract.PARTITIONS, replicationFactor: contract.REPLICAS }]
    return this.withAdmin(async (admin) => {
      const created = await admin.createTopics({ topics, waitForLeaders: false })
      for (let tries = 0; created && tries < 100 && !(await hasLeaders(admin, topic)); tries++) {
        await new Promise((wake) => setTimeout(wake, 50))
      }
      return created
    })
  }

  async create(topic) {
    if (!(await this.createUnlessThere(topic))) throw new contract.Failed(`${topic} is there`)
  }

  // Sends the records from first to last in one request to each broker, and counts them when acknowledged.
  async send(producer, topic, acks, acked, result, first, last) {
    await producer.send({ topic, acks, messages: contract.records(topic, first, last) })
    result.sent += last - first
    if (acked) for (let sequence = first; sequence < last; sequence++) fs.appendFileSync(acked, `${sequence}\n`)
  }

  async produce(topic, options, acks, acked, result) {
    await this.withProducer(options, async (producer) => {
      for (const { first, last } of contract.batches(this.args.count)) {
        await this.send(producer, topic, acks, acked, result, first, last)
      }
    })
  }

  async produce0(result) {
    const topic = `${this.topic}-a0`
    await this.createUnlessThere(topic)
    await this.produce(topic, {}, 0, null, result)
  }

  // Not idempotent: with that, kafkajs cannot go on after a leader moved ("out of order sequence number"). One record a
  // send: when a leader moves to a broker that already answered its part of a send, kafkajs drops the rest and says it is sent.
  async stream(result) {
    await this.withProducer({}, (producer) =>
      contract.paced(this.args, async (first, last) => {
        for (let sequence = first; sequence < last; sequence++) {
          await this.send(producer, this.topic, -1, this.args.acked, result, sequence, sequence + 1)
        }
      }))
  }

  // Reads in a group until done(), or for the argument timeout, and then for listenMs more.
  async read(groupId, topic, check, done, listenMs) {
    const consumer = this.kafka.consumer({ groupId, maxWaitTimeInMs: 100 })
    await consumer.connect()
    try {
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      const enough = new Promise((finish, crash) => {
        setTimeout(finish, this.args.timeout * 1000).unref()
        consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || crash(payload.error))
        consumer.run({
          autoCommit: false,
          eachMessage: async ({ partition, message }) => {
            check.see(partition, Number(message.offset), message.key.toString(), message.value.toString())
            if (done()) finish()
          },
        }).catch(crash)
      })
      await enough
      await new Promise((wake) => setTimeout(wake, listenMs))
      await consumer.commitOffsets([...check.offsets].map(([partition, offset]) => ({ topic, partition, offset: `${offset + 1}` })))
    } finally {
      await consumer.disconnect()
    }
  }

  async consume(result) {
    const check = new contract.Check(this.topic, this.args.out)
    await this.read(`${this.topic}-g`, this.topic, check, () => check.values.size >= this.args.count, 0)
    check.judge(result, this.args.count)
  }

  async transact(result) {
    const topic = `${this.topic}-tx`
    await this.createUnlessThere(topic)
    await this.withProducer({ idempotent: true, transactionalId: topic }, async (producer) => {
      for (const { first, last, commit } of contract.batches(this.args.count)) {
        const transaction = await producer.transaction()
        await this.send(transaction, topic, -1, null, result, first, last)
        await (commit ? transaction.commit() : transaction.abort())
      }
    })
    const check = new contract.Check(topic)
    const expected = contract.committedOf(this.args.count)
    await this.read(`${topic}-g`, topic, check, () => check.values.size >= expected, QUIET_MS)
    check.judgeCommitted(result, this.args.count)
  }

  async admin(result) {
    const group = `${this.topic}-g`
    await this.withAdmin(async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [this.topic] })
      const { brokers } = await admin.describeCluster()
      const resources = [{ type: ConfigResourceTypes.BROKER, name: `${brokers[0].nodeId}` }]
      const configs = await admin.describeConfigs({ resources, includeSynonyms: false })
      const described = await admin.describeGroups([group])
      const committed = await admin.fetchOffsets({ groupId: group, topics: [this.topic] })
      const ends = await admin.fetchTopicOffsets(this.topic)
      const { groups } = await admin.listGroups()
      result.detail = [
        `partitions=${topics[0].partitions.length}`,
        `configs=${configs.resources[0].configEntries.length}`,
        `group=${described.groups[0].state}`,
        `committed=${committed[0].partitions.length}`,
        `offsets=${ends.reduce((sum, { offset }) => sum + Number(offset), 0)}`,
        `groups=${groups.length}`,
      ].join()
    })
  }
}

// kafkajs itself gives up where the broker that it asks has not heard of the new topic yet.
async function hasLeaders(admin, topic) {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions.length === contract.PARTITIONS && topics[0].partitions.every(({ leader }) => leader >= 0)
  } catch (error) {
    if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION' || error.type === 'LEADER_NOT_AVAILABLE') return false
    throw error
  }
}

contract.run(`kafkajs ${version}`, (args) => new Client(args).functions())
