"""Case 8: kill -9 a leader of a topic that takes 1,000 records a second, acks=all, idempotent, from librdkafka: the
longest time in which a partition acknowledges nothing, and what is lost.

The topic has several partitions, as topics do. A librdkafka with one partition knows one broker; where that dies, it
looks for another leader by a timer that it has for all topics, once a second, and that would be what is measured.
"""

import re
import statistics
import subprocess
import time
from dataclasses import dataclass

import brokers
import clients
import clusters
import wire
from session import settle

RATE = 1000
PARTITIONS = 6
# Before each kill. librdkafka dials a broker that it has lost later each time, up to reconnect.backoff.max.ms (10 s), and
# begins anew after as long: with less between them, the gaps of later kills would be its pauses.
REST_S = 12
# Kills in each round: of three rounds, 30 of ours. Kafka takes ten seconds over each.
KILLS = {"milena": 10, "kafka": 2}
FLOW_LIMIT_S = 120
END_LIMIT_S = 180
LEDGER = brokers.ROOT / "e2e/clients/python/ledger.py"


def steps(session):
    return session.rounds


def run(session):
    """Each round has clusters of its own."""
    if not clients.has_librdkafka():
        session.say("failover needs librdkafka: skipped")
        return
    for index in range(session.rounds):
        session.step(f"failover, round {index + 1} of {session.rounds}")
        kinds = clusters.compared()
        for kind in kinds if index % 2 == 0 else kinds[::-1]:
            settle()
            with kind(session.folder) as cluster:
                one_cluster(session, cluster)


def one_cluster(session, cluster):
    topic = session.new_topic()
    cluster.topic(topic, PARTITIONS)
    kills = max(1, int(KILLS[cluster.name] * min(1, session.scale * 10)))
    with Producer(cluster, topic, session.folder / f"{topic}.ledger") as producer:
        producer.until_acknowledged()
        gaps = [one_kill(cluster, topic, producer) for _ in range(kills)]
        acks = producer.end()
    for gap in gaps:
        session.results.add("failover/gap_s", cluster.name, gap)
    session.results.add("failover/worst_s", cluster.name, max(gaps))
    lost = lost_of(cluster, topic, acks)
    session.results.add("failover/lost", cluster.name, lost)
    session.say(f"  {cluster.name}, {kills} kills: gap {statistics.median(gaps):.3f} s, worst {max(gaps):.3f} s, "
                f"{lost} of {len(acks)} lost")


def one_kill(cluster, topic, producer):
    """Seconds without an acknowledgement of some partition, around one kill."""
    time.sleep(REST_S)
    leader = cluster.leader(topic)
    from_us = now_us()
    cluster.kill(leader)
    producer.until_acknowledged()
    cluster.start()
    cluster.until_in_sync(topic, PARTITIONS)
    producer.until_acknowledged()
    return producer.longest_silence_s(from_us, now_us())


def lost_of(cluster, topic, acks):
    """How many acknowledged records are beyond their logs' ends; what is at each offset e2e's tests compare."""
    ends = []
    for partition, described in enumerate(cluster.described(topic)[0].partitions):
        with wire.Connection(cluster.addresses[described.leader]) as connection:
            ends.append(connection.end(topic, partition))
    return max(sum(ack.offset >= ends[ack.partition] for ack in acks), len(acks) - sum(ends))


@dataclass(frozen=True)
class Ack:
    """A line of a ledger."""

    partition: int
    offset: int
    at_us: int

    @classmethod
    def of(cls, line):
        """None where the line says something else."""
        found = re.fullmatch(r"ack (\d+) (-?\d+) \d+ (\d+)", line)
        return found and cls(*(int(one) for one in found.groups()))


def now_us():
    return time.monotonic_ns() // 1000


class Producer:
    """A ledger's producer, and what it was told."""

    def __init__(self, cluster, topic, path):
        self.path = path
        with open(path, "wb") as output, open(f"{path}.err", "wb") as errors:
            self.child = subprocess.Popen(
                [clients.PYTHON, LEDGER, "produce", cluster.bootstrap, topic, str(PARTITIONS), "bench",
                 str(RATE)],
                stdin=subprocess.PIPE, stdout=output, stderr=errors)
        self.output = open(path, encoding="ascii")
        self.acks = []
        self.failed = []
        self.part = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.output.close()

    def look(self):
        lines = (self.part + self.output.read()).split("\n")
        self.part = lines.pop()
        for line in lines:
            ack = Ack.of(line)
            if ack:
                self.acks.append(ack)
            elif line.startswith("failed"):
                self.failed.append(line)

    def until_acknowledged(self):
        """By every partition, after now."""
        since, deadline = now_us(), time.monotonic() + FLOW_LIMIT_S
        while len({ack.partition for ack in self.acks if ack.at_us > since}) < PARTITIONS:
            if time.monotonic() > deadline or self.child.poll() is not None:
                raise RuntimeError(f"no acknowledgement within {FLOW_LIMIT_S} s; {self.failed[:3]}")
            time.sleep(0.02)
            self.look()

    def longest_silence_s(self, from_us, to_us):
        """The longest time in a window in which one partition acknowledged nothing."""
        silences = []
        for partition in range(PARTITIONS):
            times = [ack.at_us for ack in self.acks if ack.partition == partition and from_us <= ack.at_us <= to_us]
            edges = [from_us, *times, to_us]
            silences += [later - at for at, later in zip(edges, edges[1:])]
        return max(silences) / 1e6

    def end(self):
        """All acknowledgements; an error where a record was given up."""
        self.child.stdin.close()
        self.child.wait(END_LIMIT_S)
        self.look()
        if self.failed:
            raise RuntimeError(f"{len(self.failed)} records were given up: {self.failed[0]}")
        return self.acks
