// The part of the client programs' contract (../README.md) that does not depend on a Kafka library.
'use strict'

const fs = require('fs')

const PARTITIONS = 3
const REPLICAS = 3
const TRANSACTION = 50

class Failed extends Error {}

function usage(reason) {
  console.error(reason)
  process.exit(2)
}

function parse(words) {
  const args = { count: '100', timeout: '30' }
  for (const word of words) {
    const equals = word.indexOf('=')
    if (equals < 1) usage(`not key=value: ${word}`)
    args[word.slice(0, equals)] = word.slice(equals + 1)
  }
  return { ...args, count: Number(args.count), timeout: Number(args.timeout) }
}

// What tls_ca, tls_cert, tls_key and tls_version say; undefined without tls_ca.
function tls(args) {
  if (!args.tls_ca) return undefined
  const file = (name) => name && fs.readFileSync(name)
  const version = args.tls_version && `TLSv${args.tls_version}`
  return { ca: file(args.tls_ca), cert: file(args.tls_cert), key: file(args.tls_key), minVersion: version, maxVersion: version }
}

// Runs the functions that the command line names, in order, prints a line for each, and exits.
// `table` makes an object of async function(result) from the arguments.
async function run(version, table) {
  const args = parse(process.argv.slice(2))
  if (!args.functions) usage('missing functions=')
  const wanted = args.functions.split(',')
  if (wanted.some((name) => name !== 'version' && name !== 'supported')) {
    for (const key of ['bootstrap', 'prefix']) if (!args[key]) usage(`missing ${key}=`)
  }
  const functions = table(args)
  functions.version = async (result) => { result.detail = version }
  functions.supported = async (result) => { result.detail = Object.keys(functions).sort().join() }
  let ok = true
  for (const name of wanted) ok = (await report(name, functions[name])) && ok
  process.exit(ok ? 0 : 1)
}

async function report(name, work) {
  const result = { function: name, ok: true, sent: 0, read: 0, ms: 0, detail: '' }
  const start = Date.now()
  try {
    if (!work) throw new Failed(`unsupported: ${name}`)
    await work(result)
  } catch (failure) {
    if (!(failure instanceof Failed)) console.error(failure)
    result.ok = false
    result.detail = failure.message
  }
  result.ms = Date.now() - start
  fs.writeSync(1, JSON.stringify(result) + '\n')
  return result.ok
}

const record = (topic, sequence) => ({ key: `k${sequence % 16}`, value: `${topic}:${sequence}` })

const records = (topic, first, last) => Array.from({ length: last - first }, (_, n) => record(topic, first + n))

// First and last+1 sequence number of each transaction, and whether it is to be committed.
function batches(count) {
  const all = []
  for (let first = 0; first < count; first += TRANSACTION) {
    all.push({ first, last: Math.min(first + TRANSACTION, count), commit: committed(first) })
  }
  return all
}

const committed = (sequence) => Math.floor(sequence / TRANSACTION) % 2 === 0

// Calls send(first, last) one after the other with what is due, at the argument rate for the argument seconds
// or until the file of the argument stop exists, and returns how many records there were.
async function paced(args, send) {
  if (!args.rate || !args.seconds) throw new Failed('missing rate= or seconds=')
  const start = Date.now()
  let sent = 0
  for (;;) {
    const spent = (Date.now() - start) / 1000
    if (spent >= Number(args.seconds) || (args.stop && fs.existsSync(args.stop))) return sent
    const due = Math.floor(spent * Number(args.rate))
    if (due > sent) await send(sent, due)
    sent = Math.max(sent, due)
    await new Promise((wake) => setTimeout(wake, 5))
  }
}

// What must be true of the records read: values of our own, none twice, and order within partition and key.
class Check {
  constructor(topic, out) {
    this.topic = topic
    this.out = out
    this.values = new Set()
    this.offsets = new Map()
    this.sequences = new Map()
    this.fault = null
  }

  see(partition, offset, key, value) {
    if (this.out) fs.appendFileSync(this.out, `${partition} ${offset} ${value}\n`)
    if (!value.startsWith(`${this.topic}:`)) return this.fail(`foreign value ${value}`)
    if (this.values.has(value)) this.fail(`duplicate ${value}`)
    const sequence = Number(value.slice(this.topic.length + 1))
    if ((this.offsets.get(partition) ?? -1) >= offset) this.fail(`offset went back at ${partition}/${offset}`)
    if ((this.sequences.get(key) ?? -1) >= sequence) this.fail(`key ${key} went back at ${sequence}`)
    this.values.add(value)
    this.offsets.set(partition, offset)
    this.sequences.set(key, sequence)
  }

  fail(fault) {
    this.fault ??= fault
  }

  judge(result, expected) {
    result.read = this.values.size
    if (this.fault) throw new Failed(this.fault)
    if (result.read !== expected) throw new Failed(`read ${result.read} of ${expected}`)
  }

  // judge for count records sent in batches.
  judgeCommitted(result, count) {
    for (let sequence = 0; sequence < count; sequence++) {
      if (!committed(sequence) && this.values.has(`${this.topic}:${sequence}`)) this.fail(`read aborted ${sequence}`)
    }
    this.judge(result, committedOf(count))
  }
}

const committedOf = (count) => batches(count).reduce((sum, { first, last, commit }) => sum + (commit ? last - first : 0), 0)

module.exports = { Check, Failed, PARTITIONS, REPLICAS, batches, committedOf, paced, records, run, tls }
