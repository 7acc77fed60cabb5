"""Case 8: kill -9 the leader of a partition that takes 1,000 records a second, acks=all, idempotent, from librdkafka:
the longest time without an acknowledgement, and what is lost."""

import statistics
import subprocess
import time

import brokers
import clients
import clusters
import wire

RATE = 1000
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
            with kind(session.folder) as cluster:
                one_cluster(session, cluster)


def one_cluster(session, cluster):
    topic = session.new_topic()
    cluster.topic(topic, 1)
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
    """Seconds without an acknowledgement around one kill."""
    leader = cluster.leader(topic)
    from_us = now_us()
    cluster.kill(leader)
    producer.until_acknowledged()
    cluster.start()
    cluster.until_in_sync(topic, 1)
    producer.until_acknowledged()
    return clusters.longest_silence_s([at for _, _, at in producer.acks], from_us, now_us())


def lost_of(cluster, topic, acks):
    """How many acknowledged records are not there, by the log's end: offsets and keys are compared by e2e's tests."""
    with wire.Connection(cluster.addresses[cluster.leader(topic)]) as connection:
        end = connection.end(topic, 0)
    numbers = {number for _, number, _ in acks}
    beyond = sum(offset >= end for offset, _, _ in acks)
    return max(beyond, len(numbers) - end)


def now_us():
    return time.monotonic_ns() // 1000


class Producer:
    """A ledger's producer, and what it was told."""

    def __init__(self, cluster, topic, path):
        self.path = path
        with open(path, "wb") as output, open(f"{path}.err", "wb") as errors:
            self.child = subprocess.Popen(
                [clients.PYTHON, LEDGER, "produce", cluster.bootstrap, topic, "1", "bench", str(RATE)],
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
            ack = clusters.ack_of(line)
            if ack:
                self.acks.append(ack)
            elif line.startswith("failed"):
                self.failed.append(line)

    def until_acknowledged(self):
        """Something that was acknowledged after now."""
        since, deadline = now_us(), time.monotonic() + FLOW_LIMIT_S
        while not self.acks or self.acks[-1][2] < since:
            if time.monotonic() > deadline or self.child.poll() is not None:
                raise RuntimeError(f"no acknowledgement within {FLOW_LIMIT_S} s; {self.failed[:3]}")
            time.sleep(0.02)
            self.look()

    def end(self):
        """All acknowledgements; an error where a record was given up."""
        self.child.stdin.close()
        self.child.wait(END_LIMIT_S)
        self.look()
        if self.failed:
            raise RuntimeError(f"{len(self.failed)} records were given up: {self.failed[0]}")
        return self.acks
