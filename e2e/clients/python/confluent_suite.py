"""confluent-kafka (librdkafka): admin, idempotence, every codec, eager and cooperative groups, static members."""
from confluent_kafka import (OFFSET_BEGINNING, OFFSET_END, Consumer, ConsumerGroupTopicPartitions, KafkaError,
                             KafkaException, Producer, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   NewTopic, OffsetSpec)
from plan import LIMIT_S, PARTITIONS, Seen, ensure, equal, halves, live, run, until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = ["0", "1", "all"]
HALF = 20


def before(plan):
    admin = AdminClient({"bootstrap.servers": plan.bootstrap})
    create(admin, plan)
    configure(admin, plan)
    for acks in ACKS:
        for codec in CODECS:
            produce(plan, {"acks": acks, "compression.type": codec})
            landed(admin, plan)
    for codec in CODECS:
        produce(plan, {"enable.idempotence": True, "compression.type": codec})
    landed(admin, plan)
    read_by_assignment(plan)
    seek(plan)
    commit_half(admin, plan)
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        pair(plan, strategy)
    static_member(admin, plan)
    manage_groups(admin, plan)
    delete(admin, plan)


def during(plan):
    producer, reader = producer_with(plan, {"enable.idempotence": True}), consumer(plan, plan.group)
    reader.subscribe([plan.topic])
    live(plan, lambda: send(producer, plan, "idempotence"), lambda seen: take(reader, seen))
    reader.commit(asynchronous=False)
    reader.close()


def after(plan):
    admin = AdminClient({"bootstrap.servers": plan.bootstrap})
    plan.sent = ends(admin, plan)[0]
    equal("configuration after the restart", config(admin, plan, "retention.ms"), "7200000")
    ensure(plan.named("gone") not in admin.list_topics(timeout=LIMIT_S).topics, "a deleted topic is back")
    resume(admin, plan)


# ---------------------------------------------------------------- topics

def create(admin, plan):
    cluster = admin.describe_cluster().result(LIMIT_S)
    equal("brokers of the cluster", len(cluster.nodes), 1)
    new = NewTopic(plan.topic, PARTITIONS, 1, config={"retention.ms": "3600000"})
    admin.create_topics([new])[plan.topic].result(LIMIT_S)
    try:
        admin.create_topics([new])[plan.topic].result(LIMIT_S)
        ensure(False, "creating a topic twice did not fail")
    except KafkaException as error:
        equal("creating a topic twice", error.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    equal("partitions", len(admin.list_topics(plan.topic, LIMIT_S).topics[plan.topic].partitions), PARTITIONS)
    grown = plan.named("grown")
    admin.create_topics([NewTopic(grown, 1, 1)])[grown].result(LIMIT_S)
    admin.create_partitions([NewPartitions(grown, 4)])[grown].result(LIMIT_S)
    until("the added partitions are seen",
          lambda: len(admin.list_topics(grown, LIMIT_S).topics[grown].partitions) == 4)


def config(admin, plan, name):
    resource = ConfigResource(ConfigResource.Type.TOPIC, plan.topic)
    return admin.describe_configs([resource])[resource].result(LIMIT_S)[name].value


def configure(admin, plan):
    equal("configuration given at creation", config(admin, plan, "retention.ms"), "3600000")
    change = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, plan.topic, incremental_configs=[change])
    admin.incremental_alter_configs([resource])[resource].result(LIMIT_S)
    until("the new configuration is seen", lambda: config(admin, plan, "retention.ms") == "7200000")
    wrong = ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, plan.topic, incremental_configs=[wrong])
    try:
        admin.incremental_alter_configs([resource])[resource].result(LIMIT_S)
        ensure(False, "a retention.ms of `soon` was accepted")
    except KafkaException as error:
        equal("a bad value", error.args[0].code(), KafkaError.INVALID_CONFIG)


def delete(admin, plan):
    gone = plan.named("gone")
    admin.create_topics([NewTopic(gone, 2, 1)])[gone].result(LIMIT_S)
    admin.delete_topics([gone])[gone].result(LIMIT_S)
    until("the deleted topic is gone", lambda: gone not in admin.list_topics(timeout=LIMIT_S).topics)
    short = plan.named("short")
    admin.create_topics([NewTopic(short, 1, 1)])[short].result(LIMIT_S)
    producer = Producer({"bootstrap.servers": plan.bootstrap})
    for number in range(10):
        producer.produce(short, b"%d" % number, partition=0)
    equal("unsent records", producer.flush(LIMIT_S), 0)
    cut = admin.delete_records([TopicPartition(short, 0, 6)])
    equal("low watermark after DeleteRecords", [f.result(LIMIT_S).low_watermark for f in cut.values()], [6])
    where = TopicPartition(short, 0)
    start = admin.list_offsets({where: OffsetSpec.earliest()})[where].result(LIMIT_S)
    equal("earliest offset after DeleteRecords", start.offset, 6)


def ends(admin, plan):
    asked = {TopicPartition(plan.topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}
    return [future.result(LIMIT_S).offset for future in admin.list_offsets(asked).values()]


def landed(admin, plan):
    """acks=0 tells nothing, and the next producer has another connection: wait until all are in the log."""
    until(f"{plan.sent} records in each partition", lambda: ends(admin, plan) == [plan.sent] * PARTITIONS)


# ---------------------------------------------------------------- records

def producer_with(plan, settings):
    return Producer({"bootstrap.servers": plan.bootstrap, "linger.ms": 5, **settings})


def produce(plan, settings):
    send(producer_with(plan, settings), plan, settings)


def send(producer, plan, what):
    errors = []
    for partition, index in plan.round():
        producer.produce(plan.topic, plan.value(partition, index), plan.key(partition, index), partition,
                         timestamp=plan.timestamp_ms(index), headers=[plan.header(partition, index)],
                         on_delivery=lambda error, _: errors.append(error) if error else None)
    equal(f"records unsent with {what}", producer.flush(LIMIT_S), 0)
    equal(f"delivery errors with {what}", errors, [])


def consumer(plan, group, **settings):
    return Consumer({"bootstrap.servers": plan.bootstrap, "group.id": group, "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "heartbeat.interval.ms": 500, "session.timeout.ms": 10000,
                     "topic.metadata.refresh.interval.ms": 1000,
                     **{name.replace("_", "."): value for name, value in settings.items()}})


def take(reader, seen):
    for message in reader.consume(500, 0.5):
        ensure(message.error() is None, f"{seen.what}: {message.error()}")
        seen.add(message.partition(), message.offset(), message.value(), message.key(), message.headers()[0])


def whole(plan, offset):
    return [TopicPartition(plan.topic, p, offset) for p in range(PARTITIONS)]


def read_by_assignment(plan):
    reader, seen = consumer(plan, plan.named("unused")), Seen("read by assignment")
    reader.assign(whole(plan, OFFSET_BEGINNING))
    until("all records by assignment", lambda: take(reader, seen) or seen.holds(0, plan.sent))
    seen.check(0, plan.sent)
    reader.close()


def seek(plan):
    reader = consumer(plan, plan.named("unused"))

    def next_offset():
        message = until("a record after a seek", lambda: reader.poll(0.5))
        ensure(message.error() is None, f"after a seek: {message.error()}")
        equal("timestamp", message.timestamp()[1], plan.timestamp_ms(message.offset()))
        return message.offset()

    where = TopicPartition(plan.topic, 1)
    reader.assign([TopicPartition(plan.topic, 1, 5)])
    equal("assigned at offset 5", next_offset(), 5)
    reader.seek(TopicPartition(plan.topic, 1, 17))
    equal("seek to 17", next_offset(), 17)
    reader.seek(TopicPartition(plan.topic, 1, OFFSET_BEGINNING))
    equal("seek to the beginning", next_offset(), 0)
    equal("watermarks", reader.get_watermark_offsets(where, LIMIT_S), (0, plan.sent))
    asked = TopicPartition(plan.topic, 1, plan.timestamp_ms(23))
    equal("offset by time", reader.offsets_for_times([asked], LIMIT_S)[0].offset, 23)
    reader.seek(TopicPartition(plan.topic, 1, OFFSET_END))
    equal("records behind the end", reader.poll(0.5), None)
    reader.close()


def commit_half(admin, plan):
    reader, seen = consumer(plan, plan.group), Seen("read by group")
    reader.subscribe([plan.topic])
    until("half of the records by group", lambda: take(reader, seen) or seen.holds(0, plan.sent))
    seen.check(0, plan.sent)
    reader.commit(offsets=[TopicPartition(plan.topic, p, HALF, f"half of {p}") for p in range(PARTITIONS)],
                  asynchronous=False)
    found = reader.committed(whole(plan, OFFSET_BEGINNING), LIMIT_S)
    equal("committed offsets", [(tp.offset, tp.metadata) for tp in found],
          [(HALF, f"half of {p}") for p in range(PARTITIONS)])
    reader.close()


def resume(admin, plan):
    asked = ConsumerGroupTopicPartitions(plan.group)
    found = admin.list_consumer_group_offsets([asked])[plan.group].result(LIMIT_S).topic_partitions
    equal("committed offsets after the restart", sorted((tp.offset, tp.metadata) for tp in found),
          [(HALF, f"half of {p}") for p in range(PARTITIONS)])
    reader, seen = consumer(plan, plan.group), Seen("resumed group")
    reader.subscribe([plan.topic])
    until("the remaining records", lambda: take(reader, seen) or seen.holds(HALF, plan.sent))
    produce(plan, {"enable.idempotence": True, "compression.type": "zstd"})
    until("the records sent after the restart", lambda: take(reader, seen) or seen.holds(HALF, plan.sent))
    seen.check(HALF, plan.sent)
    reader.commit(asynchronous=False)
    found = reader.committed(whole(plan, OFFSET_BEGINNING), LIMIT_S)
    equal("positions committed at the end", [tp.offset for tp in found], [plan.sent] * PARTITIONS)
    reader.close()


# ---------------------------------------------------------------- groups

def shared(members):
    for member in members:
        member.poll(0.1)
    return halves([[tp.partition for tp in member.assignment()] for member in members])


def owns_all(member):
    member.poll(0.1)
    return len(member.assignment()) == PARTITIONS


def pair(plan, strategy):
    """A second member joins, both own a part; it leaves, and the first owns all again."""
    settings = {"partition_assignment_strategy": strategy}
    members = [consumer(plan, plan.named(strategy), **settings) for _ in range(2)]
    members[0].subscribe([plan.topic])
    until(f"{strategy}: one member owns all", lambda: owns_all(members[0]))
    members[1].subscribe([plan.topic])
    until(f"{strategy}: two members share the partitions", lambda: shared(members))
    members[1].close()
    until(f"{strategy}: the remaining member owns all", lambda: owns_all(members[0]))
    members[0].close()


def static_member(admin, plan):
    """A static member that comes back within its session keeps its partitions, and the other notices nothing."""
    group, revoked = plan.named("static"), []
    members = [consumer(plan, group, group_instance_id=f"instance-{n}") for n in range(2)]
    members[0].subscribe([plan.topic], on_revoke=lambda _, partitions: revoked.append(partitions))
    members[1].subscribe([plan.topic])
    until("two static members share the partitions", lambda: shared(members))
    revoked.clear()
    had = sorted(tp.partition for tp in members[1].assignment())
    members[1].close()
    members[1] = consumer(plan, group, group_instance_id="instance-1")
    members[1].subscribe([plan.topic])
    until("the static member is back", lambda: shared(members))
    equal("partitions of the static member that came back",
          sorted(tp.partition for tp in members[1].assignment()), had)
    equal("partitions that the other static member lost meanwhile", revoked, [])
    described = admin.describe_consumer_groups([group])[group].result(LIMIT_S)
    equal("instance ids", sorted(member.group_instance_id for member in described.members),
          ["instance-0", "instance-1"])
    equal("state of the group", described.state.name, "STABLE")
    for member in members:
        member.close()


def manage_groups(admin, plan):
    listed = {group.group_id: group for group in admin.list_consumer_groups().result(LIMIT_S).valid}
    ensure(plan.group in listed, f"{plan.group} is not among the listed groups")
    group = plan.named("altered")
    wanted = [TopicPartition(plan.topic, p, 3 + p) for p in range(PARTITIONS)]
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])[group].result(LIMIT_S)
    asked = ConsumerGroupTopicPartitions(group)
    found = admin.list_consumer_group_offsets([asked])[group].result(LIMIT_S).topic_partitions
    equal("altered offsets", sorted((tp.partition, tp.offset) for tp in found), [(0, 3), (1, 4), (2, 5)])
    admin.delete_consumer_groups([group])[group].result(LIMIT_S)
    listed = {group.group_id for group in admin.list_consumer_groups().result(LIMIT_S).valid}
    ensure(group not in listed, "a deleted group is still listed")


if __name__ == "__main__":
    run(before, during, after)
