"""librdkafka as one side of a ledger: what it was told of each record that it sent, or what it read.

ledger.py produce BOOTSTRAP TOPIC PARTITIONS NAME RATE [RECONNECT_MAX_MS]
    Sends records RATE times a second, keyed NAME-0, NAME-1, and so on to the partitions in turn, acks=all and
    idempotent, until stdin ends. Prints a line for each record's fate: `ack PARTITION OFFSET NUMBER AT_US`, AT_US on
    the machine's monotonic clock, or `failed PARTITION NUMBER WHY`; and `end SENT` when all have theirs. A lost broker
    is dialled after a pause of RECONNECT_MAX_MS at most, where that is given, instead of librdkafka's ten seconds.
ledger.py consume BOOTSTRAP TOPIC PARTITIONS
    Reads from the beginning, without a group and without a way to reset: `read PARTITION OFFSET KEY`, until stdin
    has said how far, as a line of one offset a partition. Prints `end`; or `failed WHY`, with exit status 1.

Ledger.java is the same program with Kafka's own client.
"""
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

VALUE = b"v" * 1000  # so that what a replica misses is more than one fetch
SILENCE_S = 180  # longer than delivery.timeout.ms, after which every record has its fate
FLUSH_EVERY_S = 0.1
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


def consume(bootstrap, topic, partitions):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ledger", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "fetch.wait.max.ms": 100})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    stdin, lines = Stdin(), Lines()
    position, heard_at = [0] * partitions, time.monotonic()
    while not reached(position, stdin.text):
        for message in consumer.consume(500, 0.1):
            error = message.error()
            if error is None:
                lines.say(f"read {message.partition()} {message.offset()} {message.key().decode()}")
                position[message.partition()] = message.offset() + 1
                heard_at = time.monotonic()
            elif error.code() not in FAULTS_TOLD and not error.retriable():
                lines.say(f"failed {error}")
                return 1
        if time.monotonic() - heard_at > SILENCE_S:
            lines.say(f"failed no record for {SILENCE_S} s, at {position}, wanted {stdin.text}")
            return 1
        lines.flush()
    lines.say("end")
    consumer.close()
    return 0


def reached(position, wanted):
    return wanted is not None and all(at >= int(end) for at, end in zip(position, wanted.split()))


def main():
    role, bootstrap, topic, partitions, *more = sys.argv[1:]
    if role == "produce":
        name, *numbers = more
        return produce(bootstrap, topic, int(partitions), name, *map(int, numbers))
    return consume(bootstrap, topic, int(partitions))


if __name__ == "__main__":
    sys.exit(main())
