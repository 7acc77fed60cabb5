"""The clients that drive a broker: `milena bench` as the raw one, librdkafka, and Apache Kafka's Java tools.

Each function returns {"records_s", "bytes", "seconds"}, and what else the client tells.
"""

import csv
import json
import os
import re
from pathlib import Path

import brokers
import process

RUN_LIMIT_S = 240
CLIENTS = Path(os.environ.get("MILENA_CLIENTS_DIR") or brokers.ROOT / "target/clients")
PYTHON = CLIENTS / "python/bin/python"


def has_librdkafka():
    return PYTHON.exists()


def bench(broker, *arguments, limit_s=RUN_LIMIT_S):
    """`milena bench`, its JSON."""
    text = process.run([brokers.MILENA, "bench", *arguments, "-b", broker.bootstrap, "-o", "json"], limit_s)
    told = json.loads(text)
    return {"records_s": told["records_per_second"], "bytes": told["bytes"], "seconds": told["seconds"],
            "latency_ms": told.get("latency_ms")}


def raw_produce(broker, topic, load, connections=1, acks="1"):
    return bench(broker, "produce", "--prebuilt", "-t", topic, "-n", load.records, "-s", load.record_bytes,
                 "--batch-size", load.batch_bytes, "--acks", acks, "-c", connections)


def raw_consume(broker, topic):
    return bench(broker, "consume", "--headers-only", "-t", topic)


def latency(broker, topic, rate, seconds, record_bytes=1024):
    return bench(broker, "latency", "-t", topic, "-r", rate, "-s", record_bytes, "--duration", f"{seconds}s",
                 "--acks", "all", limit_s=seconds + 60)


def librdkafka_produce(broker, topic, load, connections=1):
    return json.loads(process.run(
        [PYTHON, brokers.HERE / "librdkafka.py", "produce", broker.bootstrap, topic, load.records, load.record_bytes,
         load.batch_bytes], RUN_LIMIT_S))


def librdkafka_produce_keyed(broker, topic, load, keys):
    """Each record has one of so many keys, the same in every run."""
    return json.loads(process.run(
        [PYTHON, brokers.HERE / "librdkafka.py", "produce", broker.bootstrap, topic, load.records, load.record_bytes,
         load.batch_bytes, keys], RUN_LIMIT_S))


def librdkafka_consume(broker, topic, load):
    return json.loads(process.run(
        [PYTHON, brokers.HERE / "librdkafka.py", "consume", broker.bootstrap, topic, load.records, load.record_bytes],
        RUN_LIMIT_S))


def java_produce(broker, topic, load, connections=1):
    text = process.run(
        [brokers.KAFKA, "tool", "kafka-producer-perf-test", "--topic", topic, "--num-records", load.records,
         "--record-size", load.record_bytes, "--throughput", "-1", "--producer-props",
         f"bootstrap.servers={broker.bootstrap}", "acks=1", f"batch.size={load.batch_bytes}"], RUN_LIMIT_S)
    rate = float(re.findall(r"([\d.]+) records/sec", text)[-1])
    return {"records_s": rate, "bytes": load.bytes, "seconds": load.records / rate}


def java_consume(broker, topic, load):
    text = process.run(
        [brokers.KAFKA, "tool", "kafka-consumer-perf-test", "--bootstrap-server", broker.bootstrap, "--topic", topic,
         "--messages", load.records, "--timeout", "60000"], RUN_LIMIT_S)
    rows = [row for row in csv.reader(text.splitlines(), skipinitialspace=True) if len(row) > 5]
    told = dict(zip(rows[0], rows[-1]))
    rate = float(told["fetch.nMsg.sec"])
    return {"records_s": rate, "bytes": load.bytes, "seconds": load.records / rate}


def floor(mode, frame_bytes, frames, path):
    """{"seconds", "cpu_s"} of the bare program."""
    return json.loads(process.run([brokers.FLOOR, mode, frame_bytes, frames, path], RUN_LIMIT_S))
