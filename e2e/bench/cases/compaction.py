"""Case 11: compaction of one log, from the word to compact it until it is compacted."""

import time

import clients
import load
from session import settle, warm_memory

# Of both brokers the default is 15 s: that much chance would be in a figure.
SETTINGS = ("log.cleaner.backoff.ms=100",)
SEGMENT_BYTES = 64 << 20
LIMIT_S = 300
# (name, load, keys): nine of ten records are superseded.
LOADS = (("classic", load.CLASSIC, 100_000), ("small", load.SMALL_16, 500_000))


def steps(session):
    return session.rounds


def run(session):
    """Each round starts every broker anew."""
    if not clients.has_librdkafka():
        raise RuntimeError("librdkafka, which writes the keys, is not there")
    for index in range(session.rounds):
        session.step(f"compaction, round {index + 1} of {session.rounds}")
        for kind in session.order(index):
            settle()
            with kind(session.folder, SETTINGS) as broker:
                for name, work, keys in LOADS:
                    one(session, broker, name, work.scaled(session.scale), max(100, int(keys * session.scale)))


def one(session, broker, name, work, keys):
    def note(what, figure):
        session.results.add(f"compaction/{name}/{what}", broker.name, figure)

    topic = session.new_topic()
    segment_bytes = max(1 << 20, int(SEGMENT_BYTES * session.scale))
    broker.topic(topic, 1, [f"segment.bytes={segment_bytes}", "min.cleanable.dirty.ratio=0.01"])
    clients.librdkafka_produce_keyed(broker, topic, work, keys)
    before = log_bytes(broker, topic)
    settle()
    warm_memory()
    cpu_s, begun = broker.cpu_s(), time.monotonic()
    broker.topic_command("alter", topic, "-c", "cleanup.policy=compact")
    peak = until_compacted(broker, topic)
    seconds, cpu_s = time.monotonic() - begun, broker.cpu_s() - cpu_s
    note("bytes_s", before / seconds)
    note("cpu_s_gib", cpu_s / (before / load.GIB))
    note("peak", peak)
    session.say(f"  {broker.name}, {name}: {before / seconds / 1e6:,.0f} MB/s, of {before >> 20} MiB "
                f"{log_bytes(broker, topic) >> 20} are left; peak {peak >> 20} MiB")
    broker.delete_topic(topic)


def until_compacted(broker, topic):
    """Waits until the broker has written down that it is; its memory at the most meanwhile."""
    deadline = time.monotonic() + LIMIT_S
    checkpoint, peak = broker.data() / "cleaner-offset-checkpoint", 0
    while True:
        peak = max(peak, broker.rss_bytes())
        lines = checkpoint.read_text().splitlines() if checkpoint.exists() else []
        if any(line.split()[0] == topic for line in lines if line):
            return peak
        if time.monotonic() > deadline:
            raise RuntimeError(f"{broker.name}: {topic} is not compacted after {LIMIT_S} s:\n{broker.log_tail()}")
        time.sleep(0.01)


def log_bytes(broker, topic):
    """Of all segments that count."""
    return sum(file.stat().st_size for file in (broker.data() / f"{topic}-0").glob("*.log"))
