"""librdkafka as one side of a ledger: what it was told of each record that it sent, or what it read.

ledger.py produce BOOTSTRAP TOPIC PARTITIONS NAME RATE [RECONNECT_MAX_MS]
    Sends records RATE times a second, keyed NAME-0, NAME-1, and so on to the partitions in turn, acks=all and
    idempotent, until stdin ends. Prints a line for each record's fate: `ack PARTITION OFFSET NUMBER AT_US`, AT_US on
    the machine's monotonic clock, or `failed PARTITION NUMBER WHY`; and `end SENT` when all have theirs. A lost broker
    is dialled after a pause of RECONNECT_MAX_MS at most, where that is given, instead of librdkafka's ten seconds.
ledger.py consume BOOTSTRAP TOPIC PARTITIONS
    Reads from the beginning, without a group and without a way to reset: `read PARTITION OFFSET KEY`, until stdin
    has said how far, as a line of one offset a partition. Prints `end`; or `failed WHY`, with exit status 1.
ledger.py follow BOOTSTRAP TOPIC PARTITIONS
    As consume, but in a group, whose offsets it commits several times a second. It is assigned all partitions once: a
    coordinator that moves takes the group with it. Fails where that is done anew, or where what was committed is not
    the committed offset in the end.

Ledger.java is the same program with Kafka's own client, without a group.
"""
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

GROUP = "followers"
VALUE = b"v" * 1000  # so that what a replica misses is more than one fetch
SILENCE_S = 180  # longer than delivery.timeout.ms, after which every record has its fate
FLUSH_EVERY_S = 0.1
COMMIT_EVERY_S = 0.3
COMMIT_LIMIT_S = 60
# Where all brokers that it knows seem lost, a consumer of librdkafka forgets them, and waits for itself for ever where an
# OffsetForLeaderEpoch is under way (its issue 5476, open in 2.16): after a few quick failovers in a row.
NO_DEADLOCK = {"metadata.recovery.strategy": "none"}
FAULTS_TOLD = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE}


class Stdin(threading.Thread):
    """Waits for what stdin has to say, and for its end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.text = None
        self.start()

    def run(self):
        self.text = sys.stdin.read()


class Lines:
    """Stdout, flushed often enough for whoever reads along."""

    def __init__(self):
        self.flushed_at = time.monotonic()

    def say(self, line):
        sys.stdout.write(line + "\n")

    def flush(self):
        if time.monotonic() - self.flushed_at > FLUSH_EVERY_S:
            sys.stdout.flush()
            self.flushed_at = time.monotonic()


def produce(bootstrap, topic, partitions, name, rate, reconnect_max_ms=10_000):
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
                         "client.id": name, "reconnect.backoff.max.ms": reconnect_max_ms})
    stdin, lines = Stdin(), Lines()

    def fate(number):
        def told(error, message):
            at_us = time.monotonic_ns() // 1000
            if error:
                lines.say(f"failed {message.partition()} {number} {error}")
            else:
                lines.say(f"ack {message.partition()} {message.offset()} {number} {at_us}")
        return told

    begun, sent = time.monotonic(), 0
    while stdin.text is None:
        due = int((time.monotonic() - begun) * rate)
        while sent < due:
            try:
                producer.produce(topic, VALUE, b"%s-%d" % (name.encode(), sent), sent % partitions,
                                 on_delivery=fate(sent))
            except BufferError:  # an outage: what is due waits, as it would in a program that blocks
                break
            sent += 1
        producer.poll(0.001)
        lines.flush()
    left = producer.flush(SILENCE_S)
    lines.say(f"end {sent}")
    return left


class Reading:
    """Where a consumer is in each partition, and what it says of that."""

    def __init__(self, bootstrap, partitions, group):
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
            "auto.offset.reset": "error", "fetch.wait.max.ms": 100, **NO_DEADLOCK})
        self.stdin, self.lines = Stdin(), Lines()
        self.position, self.heard_at = [0] * partitions, time.monotonic()

    def fail(self, why):
        self.lines.say(f"failed {why}")
        return 1

    def known(self):
        """What it is told of the cluster, or that nobody tells it anything."""
        try:
            told = self.consumer.list_topics(timeout=10)
        except KafkaException as error:
            return f"it reaches no broker: {error}"
        leaders = {topic.topic: [one.leader for one in topic.partitions.values()] for topic in told.topics.values()}
        return f"it knows of brokers {sorted(told.brokers)} and leaders {leaders}"

    def run(self, meanwhile=lambda: None):
        """Reads as far as stdin says; true where it can."""
        while not reached(self.position, self.stdin.text):
            for message in self.consumer.consume(500, 0.1):
                error = message.error()
                if error is None:
                    self.lines.say(f"read {message.partition()} {message.offset()} {message.key().decode()}")
                    self.position[message.partition()] = message.offset() + 1
                    self.heard_at = time.monotonic()
                elif error.code() not in FAULTS_TOLD and not error.retriable():
                    self.fail(error)
                    return False
            if time.monotonic() - self.heard_at > SILENCE_S:
                self.fail(f"no record for {SILENCE_S} s, at {self.position}, wanted {self.stdin.text}; {self.known()}")
                return False
            meanwhile()
            self.lines.flush()
        return True


def consume(bootstrap, topic, partitions):
    reading = Reading(bootstrap, partitions, "ledger")
    reading.consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    if not reading.run():
        return 1
    reading.lines.say("end")
    reading.consumer.close()
    return 0


def follow(bootstrap, topic, partitions):
    reading = Reading(bootstrap, partitions, GROUP)
    assigned, committed_at = [], time.monotonic()

    def assign(consumer, offered):
        assigned.append(len(offered))
        consumer.assign([TopicPartition(topic, one.partition, 0) for one in offered])

    def commit():
        nonlocal committed_at
        if time.monotonic() - committed_at < COMMIT_EVERY_S:
            return False
        committed_at = time.monotonic()
        read = [TopicPartition(topic, index, at) for index, at in enumerate(reading.position) if at > 0]
        try:
            return bool(read) and all(one.error is None for one in reading.consumer.commit(offsets=read, asynchronous=False))
        except KafkaException:  # no coordinator now: the next one counts
            return False

    reading.consumer.subscribe([topic], on_assign=assign)
    if not reading.run(commit):
        return 1
    deadline = time.monotonic() + COMMIT_LIMIT_S
    while not commit():
        if time.monotonic() > deadline:
            return reading.fail(f"no commit for {COMMIT_LIMIT_S} s")
        time.sleep(COMMIT_EVERY_S)
    asked = [TopicPartition(topic, index) for index in range(partitions)]
    committed = [one.offset for one in reading.consumer.committed(asked, COMMIT_LIMIT_S)]
    if committed != reading.position:
        return reading.fail(f"{committed} are committed, {reading.position} were read and committed")
    if assigned != [partitions]:
        return reading.fail(f"it was assigned {assigned} partitions, and should once have been {partitions}")
    reading.lines.say("end")
    reading.consumer.close()
    return 0


def reached(position, wanted):
    return wanted is not None and all(at >= int(end) for at, end in zip(position, wanted.split()))


def main():
    role, bootstrap, topic, partitions, *more = sys.argv[1:]
    if role == "produce":
        name, *numbers = more
        return produce(bootstrap, topic, int(partitions), name, *map(int, numbers))
    return {"consume": consume, "follow": follow}[role](bootstrap, topic, int(partitions))


if __name__ == "__main__":
    sys.exit(main())
