"""Cases 1 to 4: how fast records are written and read, and what that costs the broker."""

import clients
import load
from brokers import KAFKA
from session import WARM_UP_RECORDS, attempt, settle, warm_memory

# name, load, partitions, clients
WRITES = [
    ("classic-1p", load.CLASSIC, 1, ("raw", "librdkafka")),
    ("classic-6p", load.CLASSIC, 6, ("raw", "librdkafka", "java")),
    ("small-16k", load.SMALL_16, 6, ("raw", "librdkafka")),
    ("small-64k", load.SMALL_64, 6, ("raw", "librdkafka")),
]
PRODUCERS = {
    "raw": clients.raw_produce,
    "librdkafka": clients.librdkafka_produce,
    "java": clients.java_produce,
}
# The other loads are read by the raw client only.
READ_BY_ALL = ("classic-6p",)
FETCH_BYTES = 1 << 20


def steps(session):
    return session.rounds * len(WRITES)


def run(session):
    """Writes each load with each client, and reads what the raw client wrote."""
    with session.all() as running:
        for broker in running.values():
            warm_up(session, broker)
        for index in range(session.rounds):
            for name, whole, partitions, by in WRITES:
                session.step(f"throughput, round {index + 1} of {session.rounds}: {name}")
                work = whole.scaled(session.scale)
                floor(session, name, work)
                in_turns(session, [running[kind] for kind in session.order(index)], name, work, partitions, by)


def warm_up(session, broker):
    work = load.Load(WARM_UP_RECORDS, 1000, 16 << 10).scaled(session.scale)
    topic = session.new_topic()
    broker.topic(topic, 6)
    clients.raw_produce(broker, topic, work)
    clients.raw_consume(broker, topic)
    broker.delete_topic(topic)


def in_turns(session, running, name, work, partitions, by):
    """Each measurement of one broker stands right beside that of the other: a shared machine's speed changes."""
    for client in by:
        if client == "java" and not KAFKA.exists() or client == "librdkafka" and not clients.has_librdkafka():
            continue
        topics = [(broker, session.new_topic()) for broker in running]
        for broker, topic in topics:
            broker.topic(topic, partitions)
            attempt(session, broker, f"throughput/{name}/produce/{client}",
                    lambda: PRODUCERS[client](broker, topic, work))
        if client == "raw":
            read(session, topics, name, work)
        for broker, topic in topics:
            broker.delete_topic(topic)


def read(session, topics, name, work):
    """Warm by each client; cold, where the page cache can be dropped, by the raw one."""
    consumers = {"raw": clients.raw_consume}
    if clients.has_librdkafka() and name in READ_BY_ALL:
        consumers["librdkafka"] = lambda broker, topic: clients.librdkafka_consume(broker, topic, work)
    if KAFKA.exists() and name in READ_BY_ALL:
        consumers["java"] = lambda broker, topic: clients.java_consume(broker, topic, work)
    for client, consume in consumers.items():
        for broker, topic in topics:
            attempt(session, broker, f"throughput/{name}/consume/{client}", lambda: consume(broker, topic))
    if name not in READ_BY_ALL:
        return
    for broker, topic in topics:
        if drop_page_cache():
            attempt(session, broker, f"throughput/{name}/consume-cold/raw", lambda: clients.raw_consume(broker, topic))


def drop_page_cache():
    """False where that is not allowed."""
    settle()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("1\n")
    except OSError:
        return False
    return True


def floor(session, name, work):
    """The same bytes through the bare program."""
    path = session.folder / "floor"
    try:
        bare(session, name, work, path)
    except RuntimeError as error:
        session.fail(f"floor, throughput/{name}", error)
    finally:
        path.unlink(missing_ok=True)


def bare(session, name, work, path):
    settle()
    warm_memory()
    frames = work.frames
    told = clients.floor("write", work.batch_bytes, frames, path)
    gib = work.batch_bytes * frames / load.GIB
    results = session.results
    results.add(f"throughput/{name}/produce/raw/records_s", "floor", work.records / told["seconds"])
    results.add(f"throughput/{name}/produce/raw/cpu_s_gib", "floor", told["cpu_s"] / gib)
    frames = max(1, work.batch_bytes * frames // FETCH_BYTES)
    told = clients.floor("read", FETCH_BYTES, frames, path)
    records = work.records * frames * FETCH_BYTES / (work.batch_bytes * work.frames)
    results.add(f"throughput/{name}/consume/raw/records_s", "floor", records / told["seconds"])
    results.add(f"throughput/{name}/consume/raw/cpu_s_gib", "floor",
                told["cpu_s"] / (frames * FETCH_BYTES / load.GIB))
