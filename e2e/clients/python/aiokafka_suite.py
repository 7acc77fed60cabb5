"""aiokafka: admin, every codec, idempotence, groups with each of its assignors, static members."""
import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.structs import OffsetAndMetadata
from plan import LIMIT_S, PARTITIONS, ROUND, Failed, Seen, ensure, equal, halves, live, run

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
ACKS = [0, 1, "all"]
HALF = 20


async def before(plan):
    async with started(AIOKafkaAdminClient(bootstrap_servers=plan.bootstrap), "close") as admin:
        await create(admin, plan)
        for acks in ACKS:
            for codec in CODECS:
                await produce(plan, acks=acks, compression_type=codec)
                await landed(plan)
        await produce(plan, enable_idempotence=True, compression_type="gzip")
        await read_by_assignment(plan)
        await seek(plan)
        await commit_half(plan)
        await asyncio.gather(*[pair(plan, assignor) for assignor in (
            RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)])
        await static_member(plan)
        await inspect(admin, plan)
        await delete(admin, plan)


async def during(plan):
    loop = asyncio.get_running_loop()

    def wait(step):
        return asyncio.run_coroutine_threadsafe(step, loop).result(LIMIT_S)

    async with producer(plan, enable_idempotence=True) as sender, member(plan, plan.group) as reader:
        await asyncio.to_thread(live, plan, lambda: wait(send(plan, sender)), lambda seen: wait(take(reader, seen)))
        await reader.commit()


async def after(plan):
    async with consumer(plan) as reader:
        plan.sent = (await reader.end_offsets(whole(plan)))[TopicPartition(plan.topic, 0)]
    async with started(AIOKafkaAdminClient(bootstrap_servers=plan.bootstrap), "close") as admin:
        found = await admin.list_consumer_group_offsets(plan.group)
        equal("committed offsets after the restart",
              [(found[where].offset, found[where].metadata) for where in whole(plan)],
              [(HALF, f"half of {p}") for p in range(PARTITIONS)])
    await resume(plan)


@contextlib.asynccontextmanager
async def started(client, stop="stop"):
    await client.start()
    try:
        yield client
    finally:
        await getattr(client, stop)()


async def until(what, attempt):
    """Awaits `attempt` again and again until it returns something true, and returns that."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = await attempt()
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise Failed(f"{what}: not within {LIMIT_S} s") from None


# ---------------------------------------------------------------- topics

async def create(admin, plan):
    equal("brokers of the cluster", len((await admin.describe_cluster())["brokers"]), 1)
    answer = await admin.create_topics([NewTopic(plan.topic, PARTITIONS, 1, topic_configs={"retention.ms": "7200000"})])
    equal("error of CreateTopics", [error[1] for error in answer.topic_errors], [0])
    answer = await admin.create_topics([NewTopic(plan.topic, PARTITIONS, 1)])
    equal("creating a topic twice", [error[1] for error in answer.topic_errors], [36])
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, plan.topic)])
    found = {entry[0]: entry[1] for answer in answers for entry in answer.resources[0][4]}
    equal("configuration given at creation", found["retention.ms"], "7200000")
    grown = plan.named("grown")
    await admin.create_topics([NewTopic(grown, 1, 1)])
    await admin.create_partitions({grown: NewPartitions(4)})

    async def has_four():
        return len((await admin.describe_topics([grown]))[0]["partitions"]) == 4
    await until("the added partitions are seen", has_four)


async def delete(admin, plan):
    gone, short = plan.named("gone"), plan.named("short")
    await admin.create_topics([NewTopic(gone, 1, 1), NewTopic(short, 1, 1)])
    await admin.delete_topics([gone])

    async def is_gone():
        return gone not in await admin.list_topics()
    await until("the deleted topic is gone", is_gone)
    async with started(AIOKafkaProducer(bootstrap_servers=plan.bootstrap)) as producer:
        for number in range(10):
            await producer.send_and_wait(short, b"%d" % number)
    where = TopicPartition(short, 0)
    answer = await admin.delete_records({where: RecordsToDelete(before_offset=6)})
    equal("low watermark after DeleteRecords", answer[where], 6)
    async with consumer(plan) as reader:
        equal("earliest offset after DeleteRecords", (await reader.beginning_offsets([where]))[where], 6)


async def landed(plan):
    """acks=0 tells nothing, and the next producer has another connection: wait until all are in the log."""
    async with consumer(plan) as reader:
        async def all_in():
            return set((await reader.end_offsets(whole(plan))).values()) == {plan.sent}
        await until(f"{plan.sent} records in each partition", all_in)


# ---------------------------------------------------------------- records

def producer(plan, **settings):
    return started(AIOKafkaProducer(bootstrap_servers=plan.bootstrap, linger_ms=5, **settings))


async def produce(plan, **settings):
    async with producer(plan, **settings) as sender:
        await send(plan, sender)


async def send(plan, sender):
    sent = [await sender.send(plan.topic, plan.value(p, i), plan.key(p, i), p, plan.timestamp_ms(i),
                              [plan.header(p, i)])
            for p, i in plan.round(ROUND)]
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*sent)


def consumer(plan, *topics, **settings):
    return started(AIOKafkaConsumer(*topics, bootstrap_servers=plan.bootstrap, auto_offset_reset="earliest",
                                    enable_auto_commit=False, **settings))


def member(plan, group, **settings):
    return consumer(plan, plan.topic, group_id=group, heartbeat_interval_ms=500, **settings)


def whole(plan):
    return [TopicPartition(plan.topic, p) for p in range(PARTITIONS)]


async def take(reader, seen):
    for records in (await reader.getmany(timeout_ms=500)).values():
        for record in records:
            seen.add(record.partition, record.offset, record.value, record.key, record.headers[0])


async def take_until(reader, seen, first, end):
    async def all_taken():
        await take(reader, seen)
        return seen.holds(first, end)
    await until(seen.what, all_taken)


async def read_by_assignment(plan):
    seen = Seen("read by assignment")
    async with consumer(plan) as reader:
        reader.assign(whole(plan))
        await take_until(reader, seen, 0, plan.sent)
    seen.check(0, plan.sent)


async def seek(plan):
    where = TopicPartition(plan.topic, 1)
    async with consumer(plan) as reader:
        reader.assign([where])

        async def next_offset():
            record = await asyncio.wait_for(reader.getone(), LIMIT_S)
            equal("timestamp", record.timestamp, plan.timestamp_ms(record.offset))
            return record.offset

        reader.seek(where, 17)
        equal("seek to 17", await next_offset(), 17)
        await reader.seek_to_beginning(where)
        equal("seek to the beginning", await next_offset(), 0)
        await reader.seek_to_end(where)
        equal("position at the end", await reader.position(where), plan.sent)
        found = (await reader.offsets_for_times({where: plan.timestamp_ms(23)}))[where]
        equal("offset by time", (found.offset, found.timestamp), (23, plan.timestamp_ms(23)))
        reader.seek(where, found.offset)
        equal("seek by time", await next_offset(), 23)


async def commit_half(plan):
    seen = Seen("read by group")
    async with member(plan, plan.group) as reader:
        await take_until(reader, seen, 0, plan.sent)
        seen.check(0, plan.sent)
        await reader.commit({where: OffsetAndMetadata(HALF, f"half of {where.partition}") for where in whole(plan)})
        equal("committed offset", await reader.committed(TopicPartition(plan.topic, 2)), HALF)


async def resume(plan):
    seen = Seen("resumed group")
    async with member(plan, plan.group) as reader:
        await take_until(reader, seen, HALF, plan.sent)
        await produce(plan, enable_idempotence=True, compression_type="zstd")
        await take_until(reader, seen, HALF, plan.sent)
        seen.check(HALF, plan.sent)
        await reader.commit()
        equal("positions committed at the end", [await reader.committed(where) for where in whole(plan)],
              [plan.sent] * PARTITIONS)


# ---------------------------------------------------------------- groups

async def owned(reader):
    await reader.getmany(timeout_ms=50)
    return sorted(where.partition for where in reader.assignment())


async def until_owned(what, holds, *readers):
    async def check():
        return holds([await owned(reader) for reader in readers])
    return await until(what, check)


def all_of(assignments):
    return len(assignments[0]) == PARTITIONS


async def pair(plan, assignor):
    """A second member joins, both own a part; it leaves, and the first owns all again."""
    group, settings = plan.named(assignor.name), {"partition_assignment_strategy": (assignor,)}
    async with member(plan, group, **settings) as one:
        await until_owned(f"{group}: one member owns all", all_of, one)
        async with member(plan, group, **settings) as two:
            await until_owned(f"{group}: two members share the partitions", halves, one, two)
        await until_owned(f"{group}: the remaining member owns all", all_of, one)


async def static_member(plan):
    """A static member that comes back within its session keeps its partitions."""
    group = plan.named("static")
    async with member(plan, group, group_instance_id="instance-0") as one:
        async with member(plan, group, group_instance_id="instance-1") as two:
            await until_owned("two static members share the partitions", halves, one, two)
            had = await owned(two)
        async with member(plan, group, group_instance_id="instance-1") as two:
            await until_owned("the static member is back", halves, one, two)
            equal("partitions of the static member that came back", await owned(two), had)


async def inspect(admin, plan):
    listed = [name for name, _ in await admin.list_consumer_groups()]
    ensure(plan.group in listed, f"{plan.group} is not among the listed groups {listed}")
    answer = (await admin.describe_consumer_groups([plan.group]))[0]
    code, name, state = answer.groups[0][:3]
    equal("described group", (code, name, state), (0, plan.group, "Empty"))


if __name__ == "__main__":
    run(*[lambda plan, phase=phase: asyncio.run(phase(plan)) for phase in (before, during, after)])
