"""pykafka 2.8.0 (2018): the oldest versions of every API it uses, message formats 0 and 1, no ApiVersions.

It has no admin client: topics appear by asking for their metadata. It knows no headers, and its commits carry a JSON
of its own as metadata. Told that the broker is older than 0.10, it writes and wants lz4 frames with the wrong header
checksum that clients of message format 0 agreed on.
"""
import datetime
import time

from pykafka import KafkaClient
from pykafka.common import CompressionType, OffsetType
from pykafka.exceptions import UnknownTopicOrPartition
from plan import LIMIT_S, PARTITIONS, ROUND, Plan, Seen, ensure, equal, halves, live, run, until

CODECS = [CompressionType.NONE, CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4]
ACKS = [1, -1, 0]  # 0 last: a broker closes the connection of such a client if a new topic has no leader yet
HALF = 20


def before(plan):
    client = KafkaClient(hosts=plan.bootstrap, broker_version="0.10.2")
    list_brokers(client)
    topic = create(client, plan)
    for acks in ACKS:
        for codec in CODECS:
            produce(plan, topic, required_acks=acks, compression=codec)
            landed(plan, topic)
    old = KafkaClient(hosts=plan.bootstrap, broker_version="0.9.0")  # kept: a topic refers to it weakly
    old_topic = old.topics[plan.topic.encode()]
    for codec in CODECS:
        produce(plan, old_topic, required_acks=1, compression=codec)
    produce_sync(plan, topic)
    landed(plan, topic)
    read_without_group(plan, topic)
    read_without_group(plan, old_topic)
    reset_offsets(plan, topic)
    commit_half(plan, topic)
    pair(plan, topic)


def during(plan):
    """With a simple consumer that commits for a group: a balanced one gives up at the first heartbeat without answer.
    The others ask for metadata three times before they do, which no setting changes.
    """
    client = KafkaClient(hosts=plan.bootstrap, broker_version="0.10.2")
    client.cluster._max_connection_retries = 100
    topic = client.topics[plan.topic.encode()]
    producer, reader = producer_with(topic, required_acks=-1), group_reader(plan, topic)
    live(plan, lambda: send(plan, producer, "acks -1"), lambda seen: take(reader, seen), once=False)
    reader.commit_offsets()
    reader.stop()
    producer.stop()


def after(plan):
    client = KafkaClient(hosts=plan.bootstrap, broker_version="0.10.2")
    topic = client.topics[plan.topic.encode()]
    plan.sent = ends(topic)[0]
    resume(plan, topic)


# ---------------------------------------------------------------- topics

def list_brokers(client):
    equal("brokers", len(client.brokers), 1)
    broker = next(iter(client.brokers.values()))
    ensure(broker.connected, "the listed broker is not connected")
    ensure(isinstance(list(client.topics), list), "topics can't be listed")


def create(client, plan):
    """Asking for its metadata creates a topic, with as many partitions as `num.partitions` says."""
    name = plan.topic.encode()

    def ask():
        try:
            return client.topics[name]
        except UnknownTopicOrPartition:  # the broker's answer while it is being made
            time.sleep(0.05)
            client.update_cluster()
            return None
    topic = until("the topic is created by asking for it", ask)
    client.update_cluster()
    ensure(name in client.topics, "the topic is not listed")
    equal("partitions of an auto-created topic", len(topic.partitions), PARTITIONS)
    return topic


def ends(topic):
    """pykafka's latest offset is the one that the next record gets."""
    found = topic.latest_available_offsets()
    return [found[p].offset[0] for p in range(PARTITIONS)]


def landed(plan, topic):
    """acks=0 tells nothing, and the next producer has another connection: wait until all are in the log."""
    until(f"{plan.sent} records in each partition", lambda: ends(topic) == [plan.sent] * PARTITIONS)


# ---------------------------------------------------------------- records

def to_own_partition(partitions, key):
    """The plan's keys name the partition: k-PARTITION-INDEX."""
    wanted = int(key.split(b"-")[1])
    return next(partition for partition in partitions if partition.id == wanted)


def producer_with(topic, **settings):
    return topic.get_producer(partitioner=to_own_partition, delivery_reports=True, linger_ms=5,
                              min_queued_messages=1, **settings)


def produce(plan, topic, **settings):
    producer = producer_with(topic, **settings)
    send(plan, producer, settings)
    producer.stop()


def send(plan, producer, what):
    places = plan.round(ROUND)
    for partition, index in places:
        producer.produce(plan.value(partition, index), partition_key=plan.key(partition, index))
    for _ in places:
        message, error = producer.get_delivery_report(timeout=LIMIT_S)
        ensure(error is None, f"delivery with {what}: {error!r} for {message.partition_key}")


def produce_sync(plan, topic):
    with topic.get_sync_producer(partitioner=to_own_partition) as producer:
        for partition, index in plan.round(ROUND):
            sent = producer.produce(plan.value(partition, index), partition_key=plan.key(partition, index))
            equal("offset of a synchronous send", sent.offset, index)


def take(reader, seen):
    message = reader.consume()
    while message is not None:
        seen.add(message.partition_id, message.offset, message.value, message.partition_key)
        message = reader.consume(block=False)


def read_without_group(plan, topic):
    reader, seen = topic.get_simple_consumer(consumer_timeout_ms=500), Seen("read by the simple consumer")
    reader.reset_offsets([(partition, OffsetType.EARLIEST) for partition in topic.partitions.values()])
    until("all records without a group", lambda: take(reader, seen) or seen.holds(0, plan.sent))
    seen.check(0, plan.sent)
    reader.stop()


def reset_offsets(plan, topic):
    partition = topic.partitions[1]
    reader = topic.get_simple_consumer(partitions=[partition], consumer_timeout_ms=500,
                                       auto_offset_reset=OffsetType.LATEST, reset_offset_on_start=True)
    equal("record behind the end", reader.consume(), None)
    # pykafka is given the last offset that was consumed, and goes on behind it
    reader.reset_offsets([(partition, 16)])
    equal("reset to 16", until("a record after a reset", reader.consume).offset, 17)
    reader.reset_offsets([(partition, OffsetType.EARLIEST)])
    equal("reset to the earliest", until("a record after a reset", reader.consume).offset, 0)
    reader.reset_offsets([(partition, OffsetType.LATEST)])
    equal("reset to the latest", reader.held_offsets[1], plan.sent - 1)
    reader.stop()
    future = datetime.datetime.now() + datetime.timedelta(days=1)
    found = topic.fetch_offset_limits(future)
    equal("last offsets before tomorrow", [found[p].offset[0] for p in range(PARTITIONS)], [plan.sent] * PARTITIONS)


def group_reader(plan, topic):
    return topic.get_simple_consumer(consumer_group=plan.group.encode(), consumer_timeout_ms=500,
                                     auto_offset_reset=OffsetType.EARLIEST)


def commit_half(plan, topic):
    reader, seen = group_reader(plan, topic), Seen("read by the simple consumer with a group")
    until("the records with a group", lambda: take(reader, seen) or seen.holds(0, plan.sent))
    seen.check(0, plan.sent)
    reader.commit_offsets([(partition, HALF) for partition in topic.partitions.values()])
    found = sorted(reader.fetch_offsets())
    equal("committed offsets", [(p, answer.offset) for p, answer in found], [(p, HALF) for p in range(PARTITIONS)])
    ensure(all(b"consumer_id" in answer.metadata for _, answer in found),
           f"committed metadata: found {[answer.metadata for _, answer in found]}, wanted pykafka's JSON")
    reader.stop()


def balanced(plan, topic, **settings):
    return topic.get_balanced_consumer(plan.group.encode(), managed=True, consumer_timeout_ms=500,
                                       auto_offset_reset=OffsetType.EARLIEST, heartbeat_interval_ms=500, **settings)


def resume(plan, topic):
    """What a simple consumer committed, a balanced one goes on with."""
    reader, seen = balanced(plan, topic), Seen("resumed group")
    until("the remaining records", lambda: take(reader, seen) or seen.holds(HALF, plan.sent))
    produce(plan, topic, required_acks=-1, compression=CompressionType.GZIP)
    until("the records sent after the restart", lambda: take(reader, seen) or seen.holds(HALF, plan.sent))
    seen.check(HALF, plan.sent)
    reader.commit_offsets()
    reader.stop()
    check = topic.get_simple_consumer(consumer_group=plan.group.encode(), auto_start=True)
    equal("positions committed at the end", sorted((p, answer.offset) for p, answer in check.fetch_offsets()),
          [(p, plan.sent) for p in range(PARTITIONS)])
    check.stop()


# ---------------------------------------------------------------- groups

def owned(reader):
    reader.consume(block=False)
    return sorted(reader.partitions or {})


def pair(plan, topic):
    """A second member joins, both own a part; it leaves, and the first owns all again."""
    other = Plan(plan.bootstrap, plan.topic)
    other.group = plan.named("pair")
    one = balanced(other, topic)
    until("one member owns all", lambda: len(owned(one)) == PARTITIONS)
    client = KafkaClient(hosts=plan.bootstrap, broker_version="0.10.2")
    two = balanced(other, client.topics[plan.topic.encode()])
    until("two members share the partitions", lambda: halves([owned(one), owned(two)]))
    two.stop()
    until("the remaining member owns all", lambda: len(owned(one)) == PARTITIONS)
    one.stop()


if __name__ == "__main__":
    run(before, during, after)
