"""kafka-python: admin, every codec, three assignors and static members; and the same client told to be an old one."""
import threading

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import NoError, TopicAlreadyExistsError
from plan import LIMIT_S, PARTITIONS, ROUND, Seen, ensure, equal, halves, live, run, until

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
OLD_CODECS = [None, "gzip", "snappy", "lz4"]
ACKS = [0, 1, "all"]
HALF = 20
OLD_BROKERS = [(0, 9), (0, 10, 2), (0, 11), (2, 0)]  # message formats 0, 1, 2 and 2


def before(plan):
    admin = KafkaAdminClient(bootstrap_servers=plan.bootstrap)
    create(admin, plan)
    configure(admin, plan)
    for acks in ACKS:
        for codec in CODECS:
            produce(plan, acks=acks, compression_type=codec, enable_idempotence=False)
            landed(admin, plan)
    produce(plan, enable_idempotence=True, compression_type="zstd")
    landed(admin, plan)
    read_by_assignment(plan)
    seek(plan)
    commit_half(plan)
    for assignor in (RangePartitionAssignor, StickyPartitionAssignor, CooperativeStickyAssignor):
        pair(plan, assignor)
    static_member(admin, plan)
    manage_groups(admin, plan)
    delete(admin, plan)
    for version in OLD_BROKERS:
        speak_old(admin, plan, version)
    admin.close()


def during(plan):
    producer, reader = KafkaProducer(bootstrap_servers=plan.bootstrap, linger_ms=5), member(plan, plan.group)
    live(plan, lambda: send(plan, producer), lambda seen: take(reader, seen))
    reader.commit()
    reader.close()
    producer.close()


def after(plan):
    admin = KafkaAdminClient(bootstrap_servers=plan.bootstrap)
    plan.sent = ends(admin, plan.topic)[0]
    equal("configuration after the restart", config(admin, plan, "retention.ms"), "7200000")
    resume(admin, plan)
    admin.close()


# ---------------------------------------------------------------- topics

def create(admin, plan):
    equal("brokers of the cluster", len(admin.describe_cluster()["brokers"]), 1)
    new = {plan.topic: {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": {"retention.ms": "3600000"}}}
    admin.create_topics(new, wait_for_metadata=True)
    try:
        admin.create_topics(new)
        ensure(False, "creating a topic twice did not fail")
    except TopicAlreadyExistsError:
        pass
    equal("partitions", len(admin.describe_topics([plan.topic])[0]["partitions"]), PARTITIONS)
    grown = plan.named("grown")
    admin.create_topics({grown: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.create_partitions({grown: 4})
    until("the added partitions are seen", lambda: len(admin.describe_topics([grown])[0]["partitions"]) == 4)


def config(admin, plan, name):
    asked = ConfigResource(ConfigResourceType.TOPIC, plan.topic)
    return admin.describe_configs([asked], config_filter="all")["topic"][plan.topic][name]["value"]


def configure(admin, plan):
    equal("configuration given at creation", config(admin, plan, "retention.ms"), "3600000")
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, plan.topic, {"retention.ms": "7200000"})])
    until("the new configuration is seen", lambda: config(admin, plan, "retention.ms") == "7200000")


def delete(admin, plan):
    gone, short = plan.named("gone"), plan.named("short")
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1} for name in (gone, short)},
                        wait_for_metadata=True)
    admin.delete_topics([gone])
    until("the deleted topic is gone", lambda: gone not in admin.list_topics())
    producer = KafkaProducer(bootstrap_servers=plan.bootstrap)
    for number in range(10):
        producer.send(short, b"%d" % number).get(LIMIT_S)
    producer.close()
    where = TopicPartition(short, 0)
    equal("low watermark after DeleteRecords", admin.delete_records({where: 6})[where]["low_watermark"], 6)
    equal("earliest offset after DeleteRecords",
          admin.list_partition_offsets({where: OffsetSpec.EARLIEST})[where].offset, 6)


def ends(admin, topic):
    asked = {TopicPartition(topic, p): OffsetSpec.LATEST for p in range(PARTITIONS)}
    found = admin.list_partition_offsets(asked)
    return [found[where].offset for where in asked]


def landed(admin, plan):
    """acks=0 tells nothing, and the next producer has another connection: wait until all are in the log."""
    until(f"{plan.sent} records in each partition", lambda: ends(admin, plan.topic) == [plan.sent] * PARTITIONS)


# ---------------------------------------------------------------- records

def produce(plan, **settings):
    producer = KafkaProducer(bootstrap_servers=plan.bootstrap, linger_ms=5, **settings)
    send(plan, producer)
    producer.close()


def send(plan, producer):
    sent = [producer.send(plan.topic, plan.value(p, i), plan.key(p, i), [plan.header(p, i)], p, plan.timestamp_ms(i))
            for p, i in plan.round(ROUND)]
    producer.flush(LIMIT_S)
    for future in sent:
        future.get(LIMIT_S)


def consumer(plan, **settings):
    return KafkaConsumer(bootstrap_servers=plan.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False,
                         metadata_max_age_ms=1000, **settings)


def member(plan, group, **settings):
    found = consumer(plan, group_id=group, heartbeat_interval_ms=500, session_timeout_ms=10000, **settings)
    found.subscribe([plan.topic])
    return found


def whole(plan):
    return [TopicPartition(plan.topic, p) for p in range(PARTITIONS)]


def take(reader, seen, headers=True):
    for records in reader.poll(500).values():
        for record in records:
            seen.add(record.partition, record.offset, record.value, record.key,
                     tuple(record.headers[0]) if headers else None)


def read_by_assignment(plan):
    reader, seen = consumer(plan), Seen("read by assignment")
    reader.assign(whole(plan))
    until("all records by assignment", lambda: take(reader, seen) or seen.holds(0, plan.sent))
    seen.check(0, plan.sent)
    reader.close()


def seek(plan):
    reader, where = consumer(plan), TopicPartition(plan.topic, 1)

    def next_offset():
        record = until("a record after a seek", lambda: reader.poll(500, max_records=1))[where][0]
        equal("timestamp", record.timestamp, plan.timestamp_ms(record.offset))
        return record.offset

    reader.assign([where])
    reader.seek(where, 17)
    equal("seek to 17", next_offset(), 17)
    reader.seek_to_beginning(where)
    equal("seek to the beginning", next_offset(), 0)
    reader.seek_to_end(where)
    equal("position at the end", reader.position(where), plan.sent)
    found = reader.offsets_for_times({where: plan.timestamp_ms(23)})[where]
    equal("offset by time", (found.offset, found.timestamp), (23, plan.timestamp_ms(23)))
    reader.seek(where, found.offset)
    equal("seek by time", next_offset(), 23)
    equal("beginning", reader.beginning_offsets([where])[where], 0)
    reader.close()


def half(plan):
    return {where: OffsetAndMetadata(HALF, f"half of {where.partition}", -1) for where in whole(plan)}


def committed(reader, plan):
    found = [reader.committed(where, metadata=True) for where in whole(plan)]
    return [(one.offset, one.metadata) for one in found]


def commit_half(plan):
    reader, seen = member(plan, plan.group), Seen("read by group")
    until("the records by group", lambda: take(reader, seen) or seen.holds(0, plan.sent))
    seen.check(0, plan.sent)
    reader.commit(half(plan))
    equal("committed offsets", committed(reader, plan), [(HALF, f"half of {p}") for p in range(PARTITIONS)])
    reader.close()


def resume(admin, plan):
    reader, seen = member(plan, plan.group), Seen("resumed group")
    equal("committed offsets after the restart", committed(reader, plan),
          [(HALF, f"half of {p}") for p in range(PARTITIONS)])
    until("the remaining records", lambda: take(reader, seen) or seen.holds(HALF, plan.sent))
    produce(plan, enable_idempotence=True, compression_type="lz4")
    until("the records sent after the restart", lambda: take(reader, seen) or seen.holds(HALF, plan.sent))
    seen.check(HALF, plan.sent)
    reader.commit()
    reader.close()
    found = admin.list_group_offsets({plan.group: None})[plan.group]
    equal("positions committed at the end", [found[where].offset for where in whole(plan)], [plan.sent] * PARTITIONS)


# ---------------------------------------------------------------- groups

class Polled:
    """A member with a thread that polls it all the time, as in a program of its own.

    kafka-python throws a join away that is answered between two polls, and joins again; if it leads the group, that
    calls all others to join again as well. Two members polled by turns do this to each other for ever whenever the
    first answer reaches the leader out of turn, here and with Apache Kafka alike.
    """

    def __init__(self, reader):
        self.reader, self.partitions, self.error = reader, [], None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def poll(self):
        try:
            while not self.ending.is_set():
                self.reader.poll(100)
                self.partitions = sorted(where.partition for where in self.reader.assignment())
        except Exception as error:  # for whoever asks next
            self.error = error

    def owned(self):
        if self.error:
            raise self.error
        return self.partitions

    def close(self):
        self.ending.set()
        self.thread.join(LIMIT_S)
        self.reader.close()


def pair(plan, assignor):
    """A second member joins, both own a part; it leaves, and the first owns all again."""
    group, settings = plan.named(assignor.name), {"partition_assignment_strategy": (assignor,)}
    one = Polled(member(plan, group, **settings))
    until(f"{group}: one member owns all", lambda: len(one.owned()) == PARTITIONS)
    two = Polled(member(plan, group, **settings))
    until(f"{group}: two members share the partitions", lambda: halves([one.owned(), two.owned()]))
    two.close()
    until(f"{group}: the remaining member owns all", lambda: len(one.owned()) == PARTITIONS)
    one.close()


def static_member(admin, plan):
    """A static member that comes back within its session keeps its partitions."""
    group = plan.named("static")
    members = [Polled(member(plan, group, group_instance_id=f"instance-{n}")) for n in range(2)]
    until("two static members share the partitions", lambda: halves([one.owned() for one in members]))
    had = members[1].owned()
    members[1].close()
    members[1] = Polled(member(plan, group, group_instance_id="instance-1"))
    until("the static member is back", lambda: halves([one.owned() for one in members]))
    equal("partitions of the static member that came back", members[1].owned(), had)
    described = admin.describe_groups([group])[group]
    equal("state of the group", described["group_state"], "Stable")
    equal("instance ids", sorted(one["group_instance_id"] for one in described["members"]),
          ["instance-0", "instance-1"])
    for one in members:
        one.close()


def manage_groups(admin, plan):
    ensure(plan.group in [group["group_id"] for group in admin.list_groups()], f"{plan.group} is not listed")
    group = plan.named("altered")
    wanted = {where: OffsetAndMetadata(3 + where.partition, "", -1) for where in whole(plan)}
    equal("answers to the new offsets", set(admin.alter_group_offsets(group, wanted).values()), {NoError})
    found = admin.list_group_offsets({group: None})[group]
    equal("altered offsets", [found[where].offset for where in whole(plan)], [3, 4, 5])
    equal("answers to the deletion", list(admin.delete_group_offsets(group, whole(plan)[:1]).values()), [NoError])
    admin.delete_groups([group])
    ensure(group not in [one["group_id"] for one in admin.list_groups()], "a deleted group is still listed")


def speak_old(admin, plan, version):
    """The versions of each API that this client would use with a broker of that release."""
    old = type(plan)(plan.bootstrap, plan.named("as-" + "-".join(map(str, version))))
    admin.create_topics({old.topic: {"num_partitions": PARTITIONS, "replication_factor": 1}}, wait_for_metadata=True)
    with_headers = version >= (0, 11)
    for codec in OLD_CODECS:
        producer = KafkaProducer(bootstrap_servers=old.bootstrap, api_version=version, compression_type=codec,
                                 enable_idempotence=False)
        for p, i in old.round(ROUND):
            producer.send(old.topic, old.value(p, i), old.key(p, i), [old.header(p, i)] if with_headers else [], p)
        producer.flush(LIMIT_S)
        producer.close()
    reader, seen = member(old, old.group, api_version=version), Seen(f"read as a client of {version}")
    until(f"the records as a client of {version}", lambda: take(reader, seen, with_headers) or seen.holds(0, old.sent))
    seen.check(0, old.sent)
    reader.commit()
    equal(f"offset committed as a client of {version}", reader.committed(TopicPartition(old.topic, 2)), old.sent)
    reader.close()


if __name__ == "__main__":
    run(before, during, after)
