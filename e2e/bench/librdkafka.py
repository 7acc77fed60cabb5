"""librdkafka through confluent-kafka's batch calls: most of its work is C, and none of it is done a record at a time
in Python.

librdkafka.py produce BOOTSTRAP TOPIC RECORDS RECORD_BYTES BATCH_BYTES [KEYS]
librdkafka.py consume BOOTSTRAP TOPIC RECORDS RECORD_BYTES
"""

import json
import os
import random
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

TOGETHER = 10_000
SILENCE_S = 30


def produce(bootstrap, topic, records, record_bytes, batch_bytes, keys=0):
    """Seconds until all is acknowledged. With `keys` each record has one of so many, the same in every run."""
    errors = []
    producer = Producer({
        "bootstrap.servers": bootstrap, "acks": 1, "linger.ms": 5, "batch.size": batch_bytes,
        "batch.num.messages": 100_000, "queue.buffering.max.messages": 500_000,
        "queue.buffering.max.kbytes": 262_144, "error_cb": errors.append, "delivery.report.only.error": True})
    producer.list_topics(topic, timeout=SILENCE_S)
    value = os.urandom(record_bytes)
    part = [{"value": value}] * TOGETHER
    choice = random.Random(keys)
    begun = time.monotonic()
    sent = 0
    while sent < records:
        part = part[:records - sent]
        if keys:
            part = [{"key": f"key-{choice.randrange(keys):012}", "value": value} for _ in part]
        taken = producer.produce_batch(topic, [dict(message) for message in part])
        sent += taken
        if taken < len(part):
            producer.poll(0.01)
    left = producer.flush(SILENCE_S)
    seconds = time.monotonic() - begun
    if left or errors:
        sys.exit(f"{left} records were not stored; {errors}")
    return seconds


def consume(bootstrap, topic, records, _record_bytes):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False,
        "fetch.max.bytes": 50 << 20, "max.partition.fetch.bytes": 1 << 20, "queued.max.messages.kbytes": 131_072})
    partitions = consumer.list_topics(topic, timeout=SILENCE_S).topics[topic].partitions
    begun = time.monotonic()
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in partitions])
    read = 0
    while read < records:
        messages = consumer.consume(TOGETHER, timeout=SILENCE_S)
        if not messages:
            sys.exit(f"no record for {SILENCE_S} s, after {read}")
        read += len(messages)
    seconds = time.monotonic() - begun
    consumer.close()
    return seconds


def main():
    name, bootstrap, topic, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    seconds = {"produce": produce, "consume": consume}[name](bootstrap, topic, *numbers)
    records, record_bytes, *_ = numbers
    print(json.dumps({"records_s": records / seconds, "bytes": records * record_bytes, "seconds": seconds}))


main()
