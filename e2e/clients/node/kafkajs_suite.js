// kafkajs 2.2.4: admin, its codecs (none and gzip), every acks, groups, seeks by offset and time.
// Record i of partition p is the same in every suite: see ../python/plan.py.
'use strict'
const { Kafka, CompressionTypes, ConfigResourceTypes, ConfigSource, logLevel } = require('kafkajs')
const { once } = require('node:events')
const { isDeepStrictEqual, inspect } = require('node:util')

const PARTITIONS = 3
const ROUND = 4 // records a partition gets with each acks and codec
const HALF = 20 // offset that `before` commits and `after` resumes at
const LIMIT_MS = 60_000
const PAUSE_MS = 20
const SUITE_LIMIT_MS = 280_000 // the harness gives 300 s
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP }
const ACKS = [0, 1, -1]
const PARTITION_NUMBERS = [...Array(PARTITIONS).keys()]

const [bootstrap, prefix, phase] = process.argv.slice(2)
const topic = phase === 'during' ? `${prefix}-during` : prefix
const group = `${topic}-group`
// By default it gives up for good after five attempts, a few seconds.
const retry = phase === 'during' ? { retries: 100, maxRetryTime: 500 } : {}
const kafka = new Kafka({ clientId: 'kafkajs-suite', brokers: [bootstrap], logLevel: logLevel.NOTHING, retry })
const admin = kafka.admin()
const firstMs = Date.now()
let sent = 0

async function before () {
  await createTopics()
  await configure()
  for (const acks of ACKS) {
    for (const codec of Object.keys(CODECS)) {
      await produce(codec, acks)
      await landed()
    }
  }
  await produce('gzip', -1, { idempotent: true, maxInFlightRequests: 1 })
  await readAndCommitHalf()
  await seek()
  await pair()
  await manageGroups()
  await remove()
}

// The same producer and the same consumer before and after the broker's restart, which the harness does when it reads
// `ready`; the end of stdin tells that it is done. The consumer asks all the while.
async function during () {
  const stream = new Stream()
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const { consumer } = await join(group, (p, message) => stream.add(p, message))
  for (const when of ['before', 'after']) {
    await send(producer, 'gzip', -1)
    await until(`the records sent ${when} the restart`, () => stream.holds(sent))
    if (when === 'before') {
      console.log('ready')
      await once(process.stdin.resume(), 'end')
    }
  }
  await consumer.commitOffsets(PARTITION_NUMBERS.map(p => ({ topic, partition: p, offset: String(sent) })))
  await consumer.disconnect()
  await producer.disconnect()
}

async function after () {
  sent = (await ends())[0]
  equal('configuration after the restart', await retention(), '7200000')
  equal('committed offsets after the restart', await committed(group),
    PARTITION_NUMBERS.map(p => [String(HALF), `half of ${p}`]))
  await resume()
}

// ---------------------------------------------------------------- checks

class Failed extends Error {}

function ensure (holds, message) {
  if (!holds) throw new Failed(message)
}

function equal (what, found, wanted) {
  ensure(isDeepStrictEqual(found, wanted), `${what}: found ${inspect(found)}, wanted ${inspect(wanted)}`)
}

async function until (what, attempt) {
  const deadline = Date.now() + LIMIT_MS
  while (!await attempt()) {
    ensure(Date.now() < deadline, `${what}: not within ${LIMIT_MS} ms`)
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  }
}

const key = (p, i) => `k-${p}-${i}`
const value = (p, i) => `v-${p}-${i} `.repeat(20)

// Records that came back; refuses one that is not what the plan says, or that comes twice.
class Seen {
  constructor (what) {
    this.what = what
    this.places = new Set()
  }

  add (p, message) {
    const i = Number(message.offset)
    const where = `${this.what}: partition ${p} offset ${i}`
    ensure(!this.places.has(`${p}/${i}`), `${where} came twice`)
    equal(`${where}: key`, message.key.toString(), key(p, i))
    equal(`${where}: value`, message.value.toString(), value(p, i))
    equal(`${where}: header`, message.headers.place.toString(), `${p}/${i}`)
    this.places.add(`${p}/${i}`)
  }

  holds (first, end) {
    return this.places.size >= (end - first) * PARTITIONS
  }

  check (first, end) {
    for (const p of PARTITION_NUMBERS) {
      for (let i = first; i < end; i++) {
        ensure(this.places.has(`${p}/${i}`), `${this.what}: partition ${p} offset ${i} is missing`)
      }
    }
    equal(`${this.what}: records`, this.places.size, (end - first) * PARTITIONS)
  }
}

// What one consumer gets while the broker restarts. A record may come again, but none before an earlier one of its
// partition has come; each is stored once, at the offset of its index.
class Stream {
  next = PARTITION_NUMBERS.map(() => 0)

  add (p, message) {
    const i = Number(message.offset)
    const where = `read across the restart: partition ${p} offset ${i}`
    equal(`${where}: key`, message.key.toString(), key(p, i))
    equal(`${where}: value`, message.value.toString(), value(p, i))
    equal(`${where}: header`, message.headers.place.toString(), `${p}/${i}`)
    ensure(i <= this.next[p], `${where}: came before offset ${this.next[p]}`)
    this.next[p] = Math.max(this.next[p], i + 1)
  }

  holds (end) {
    return this.next.every(next => next >= end)
  }
}

// ---------------------------------------------------------------- topics

async function createTopics () {
  equal('brokers', (await admin.describeCluster()).brokers.length, 1)
  const configEntries = [{ name: 'retention.ms', value: '3600000' }]
  const grown = `${topic}-grown`
  const topics = [{ topic, numPartitions: PARTITIONS, configEntries }, { topic: grown, numPartitions: 1 }]
  equal('answer to CreateTopics', await admin.createTopics({ topics, waitForLeaders: true }), true)
  equal('answer to the same CreateTopics', await admin.createTopics({ topics }), false)
  await admin.createPartitions({ topicPartitions: [{ topic: grown, count: 4 }] })
  await until('the added partitions are seen', async () => {
    const { topics: [found] } = await admin.fetchTopicMetadata({ topics: [grown] })
    return found.partitions.length === 4
  })
}

async function retention () {
  const asked = { type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }
  const { resources: [found] } = await admin.describeConfigs({ resources: [asked], includeSynonyms: true })
  equal('source of the configuration', found.configEntries[0].configSource, ConfigSource.TOPIC_CONFIG)
  return found.configEntries[0].configValue
}

async function configure () {
  equal('configuration given at creation', await retention(), '3600000')
  const configEntries = [{ name: 'retention.ms', value: '7200000' }]
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  await until('the new configuration is seen', async () => await retention() === '7200000')
}

async function ends () {
  const found = await admin.fetchTopicOffsets(topic)
  return PARTITION_NUMBERS.map(p => Number(found.find(one => one.partition === p).high))
}

// acks=0 tells nothing, and the next producer has another connection: wait until all are in the log.
async function landed () {
  await until(`${sent} records in each partition`, async () => (await ends()).every(end => end === sent))
}

async function remove () {
  const short = `${topic}-grown`
  const producer = kafka.producer()
  await producer.connect()
  for (let i = 0; i < 10; i++) {
    await producer.send({ topic: short, messages: [{ partition: 0, value: 'v' }] })
  }
  await producer.disconnect()
  await admin.fetchTopicOffsets(short) // deleteTopicRecords wants to know the topic already
  await admin.deleteTopicRecords({ topic: short, partitions: [{ partition: 0, offset: '6' }] })
  const starts = await admin.fetchTopicOffsets(short)
  equal('earliest offset after DeleteRecords', starts.find(one => one.partition === 0).low, '6')
  await admin.deleteTopics({ topics: [short] })
  await until('the deleted topic is gone', async () => !(await admin.listTopics()).includes(short))
}

// ---------------------------------------------------------------- records

async function produce (codec, acks, settings = {}) {
  const producer = kafka.producer({ retry: { retries: settings.idempotent ? 5 : 0 }, ...settings })
  await producer.connect()
  await send(producer, codec, acks)
  await producer.disconnect()
}

async function send (producer, codec, acks) {
  const messages = []
  for (let i = sent; i < sent + ROUND; i++) {
    for (const p of PARTITION_NUMBERS) {
      messages.push({ partition: p, key: key(p, i), value: value(p, i), timestamp: String(firstMs + i), headers: { place: `${p}/${i}` } })
    }
  }
  sent += ROUND
  await producer.send({ topic, acks, compression: CODECS[codec], messages })
}

// Joins a group; `each` gets (partition, message).
async function join (groupId, each) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 500, sessionTimeout: 10_000, maxWaitTimeInMs: 200 })
  const member = { consumer, owned: [] }
  consumer.on(consumer.events.GROUP_JOIN, event => { member.owned = event.payload.memberAssignment[topic] || [] })
  consumer.on(consumer.events.CRASH, event => fail(event.payload.error))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => each(partition, message) })
  return member
}

async function committed (groupId) {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
  const sorted = found.partitions.sort((a, b) => a.partition - b.partition)
  return sorted.map(one => [one.offset, one.metadata])
}

async function readAndCommitHalf () {
  const seen = new Seen('read by group')
  const { consumer } = await join(group, (p, message) => seen.add(p, message))
  await until('the records by group', () => seen.holds(0, sent))
  seen.check(0, sent)
  await consumer.commitOffsets(PARTITION_NUMBERS.map(p => (
    { topic, partition: p, offset: String(HALF), metadata: `half of ${p}` })))
  await consumer.disconnect()
}

async function seek () {
  const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, firstMs + 13)
  equal('offset by time', byTime.find(one => one.partition === 1).offset, '13')
  const wanted = [17, 0, 13]
  const firsts = []
  let jumping = true
  const { consumer } = await join(`${topic}-seek`, (p, message) => {
    const offset = Number(message.offset)
    if (p !== 1 || jumping) return
    equal('timestamp', message.timestamp, String(firstMs + offset))
    if (offset === wanted[firsts.length]) {
      firsts.push(offset)
      jumping = true
    }
  })
  for (const offset of wanted) {
    const had = firsts.length
    consumer.seek({ topic, partition: 1, offset: String(offset) })
    jumping = false
    await until(`the record at ${offset} after a seek`, () => firsts.length > had)
  }
  await consumer.disconnect()
}

async function resume () {
  const seen = new Seen('resumed group')
  const { consumer } = await join(group, (p, message) => seen.add(p, message))
  await until('the remaining records', () => seen.holds(HALF, sent))
  await produce('gzip', -1)
  await until('the records sent after the restart', () => seen.holds(HALF, sent))
  seen.check(HALF, sent)
  await consumer.commitOffsets(PARTITION_NUMBERS.map(p => ({ topic, partition: p, offset: String(sent) })))
  await consumer.disconnect()
  equal('positions committed at the end', (await committed(group)).map(one => one[0]),
    PARTITION_NUMBERS.map(() => String(sent)))
}

// ---------------------------------------------------------------- groups

// A second member joins, both own a part; it leaves, and the first owns all again.
async function pair () {
  const name = `${topic}-pair`
  const one = await join(name, () => {})
  await until('one member owns all', () => one.owned.length === PARTITIONS)
  const two = await join(name, () => {})
  await until('two members share the partitions', () => {
    const both = [...one.owned, ...two.owned].sort()
    return one.owned.length && two.owned.length && isDeepStrictEqual(both, PARTITION_NUMBERS)
  })
  const { groups: [found] } = await admin.describeGroups([name])
  equal('described group', [found.state, found.members.length], ['Stable', 2])
  await two.consumer.disconnect()
  await until('the remaining member owns all', () => one.owned.length === PARTITIONS)
  await one.consumer.disconnect()
}

async function manageGroups () {
  const name = `${topic}-pair`
  await admin.setOffsets({ groupId: name, topic, partitions: PARTITION_NUMBERS.map(p => ({ partition: p, offset: '3' })) })
  equal('offsets that were set', (await committed(name)).map(one => one[0]), ['3', '3', '3'])
  await admin.resetOffsets({ groupId: name, topic, earliest: true })
  // kafkajs commits -2 itself, its mark for the earliest offset, and the broker keeps what it is given
  equal('offsets that were reset', (await committed(name)).map(one => one[0]), ['-2', '-2', '-2'])
  await admin.deleteGroups([name])
  const { groups } = await admin.listGroups()
  const listed = groups.map(one => one.groupId)
  ensure(listed.includes(group), `${group} is not listed`)
  ensure(!listed.includes(name), `the deleted group ${name} is still listed`)
}

// ---------------------------------------------------------------- main

function fail (error) {
  if (!(error instanceof Failed)) console.error(error)
  console.error(`FAILED ${phase}: ${error.name}: ${error.message}`)
  process.exit(1)
}

async function main () {
  const phases = { before, during, after }
  if (!phases[phase]) {
    console.error(`usage: kafkajs_suite.js BOOTSTRAP PREFIX ${Object.keys(phases).join('|')}`)
    process.exit(2)
  }
  setTimeout(() => fail(new Failed(`not done within ${SUITE_LIMIT_MS} ms`)), SUITE_LIMIT_MS).unref()
  await admin.connect()
  await phases[phase]()
  await admin.disconnect()
  console.log(`${phase}: ok`)
  process.exit() // kafkajs may leave a connection behind that it has made in an outage
}

main().catch(fail)
