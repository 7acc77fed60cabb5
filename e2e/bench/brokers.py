"""The brokers that are compared: ours and Apache Kafka. One object a process with a data folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import process
import wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
MILENA = Path(os.environ.get("MILENA_BIN") or TARGET / "release/milena")
FLOOR = TARGET / "release/floor"
# Starts and stops Apache Kafka, and runs its tools. Without it ours is measured alone.
KAFKA = Path(os.environ.get("MILENA_BENCH_KAFKA") or ROOT.parent / "shared/kafka/kafka")
START_LIMIT_S = 180
TOPIC_LIMIT_S = 300
# By default both remove a deleted topic's files after a minute, which would be in the middle of another measurement.
# Kafka also looks that often for what is due, for the first time half a minute after its start. Ours looks when it
# enforces retention; not more often than this, since it then looks at each of 10,000 logs.
DELETE_DELAY_MS = 1000
RETENTION_MS = 5000
# Kafka refuses a request that makes more than 10,000 records of its metadata.
PARTITIONS_AT_ONCE_MAX = 1000


def environment():
    """Ours without MILENA_...: the broker reads each of those as a setting."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MILENA_")}


def free_port(count=1):
    """A port P such that P, P+100, ... (`count` of them) are free now."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        if port < 60000 and all(is_free(port + 100 * index) for index in range(count)):
            return port


def is_free(port):
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Broker:
    """What both have in common. `with` starts it, ends it, and removes its data."""

    name = ""

    def __init__(self, folder, settings=()):
        self.settings = [f"log.segment.delete.delay.ms={DELETE_DELAY_MS}", *settings]
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=folder))
        self.pid = None
        self.bootstrap = ""

    def __enter__(self):
        self.prepare()
        self.start()
        self.wait()
        return self

    def __exit__(self, *_):
        if self.pid and process.is_running(self.pid):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self):
        """Until it answers a Metadata request."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with wire.Connection(self.bootstrap) as connection:
                    connection.metadata([])
                    return
            except OSError:
                if time.monotonic() > deadline or not process.is_running(self.pid):
                    raise RuntimeError(f"{self.name} did not start:\n{self.log_tail()}") from None
                time.sleep(0.005)

    def set_each(self):
        return [part for setting in self.settings for part in ("--set", setting)]

    def log_tail(self):
        logs = sorted(self.folder.rglob("output.log"))
        return logs[0].read_text()[-2000:] if logs else ""

    def kill(self):
        process.end(self.pid, signal.SIGKILL)
        self.reap()

    def stop(self):
        process.end(self.pid)
        self.reap()

    def data(self):
        """The folder that partitions' folders are in."""

    def reap(self):
        """Forgets the process."""

    def cpu_s(self):
        return process.cpu_s(self.pid)

    def rss_bytes(self):
        return process.rss_bytes(self.pid)

    def topic(self, name, partitions, configs=()):
        """Creates a topic, a part of it at a time, and waits each time until each partition has a leader."""
        first = min(partitions, PARTITIONS_AT_ONCE_MAX)
        given = [part for config in configs for part in ("-c", config)]
        self.topic_command("create", name, "-p", first, *given)
        self.until_led(name, first)
        for count in range(first, partitions, PARTITIONS_AT_ONCE_MAX):
            there = min(partitions, count + PARTITIONS_AT_ONCE_MAX)
            self.topic_command("alter", name, "-p", there)
            self.until_led(name, there)

    def until_led(self, topic, partitions):
        """Kafka answers for a topic before it knows it: what is asked next may be refused."""
        deadline = time.monotonic() + TOPIC_LIMIT_S
        with wire.Connection(self.bootstrap) as connection:
            while connection.leaders(topic) < partitions:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name}: topic {topic} has partitions without a leader")
                time.sleep(0.05)

    def delete_topic(self, name):
        """Deletes a topic and waits until its files are gone."""
        self.topic_command("delete", name)
        deadline = time.monotonic() + TOPIC_LIMIT_S
        while any(folder.name.endswith("-delete") for folder in self.data().iterdir()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: the files of topic {name} are still there")
            time.sleep(0.1)

    def topic_command(self, command, name, *arguments):
        process.run([MILENA, "topic", command, name, *arguments, "-b", self.bootstrap, "--timeout", "240s"],
                    TOPIC_LIMIT_S)


class Milena(Broker):
    """Ours, with its defaults but for the time after which deleted files are removed."""

    name = "milena"

    def prepare(self):
        self.bootstrap = f"127.0.0.1:{free_port()}"

    def start(self):
        """The time at which the process began."""
        begun = time.monotonic()
        with open(self.folder / "output.log", "ab") as output:
            self.child = subprocess.Popen(
                [MILENA, "serve", "--data", self.folder / "data", "--listeners", f"PLAINTEXT://{self.bootstrap}",
                 "--http", "", "--set", f"log.retention.check.interval.ms={RETENTION_MS}", *self.set_each()],
                env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.pid = self.child.pid
        return begun

    def data(self):
        return self.folder / "data"

    def reap(self):
        self.child.wait()


class Kafka(Broker):
    """Apache Kafka as its shipped server.properties has it, with -Xmx1g, and ours' time for deleted files."""

    name = "kafka"

    def prepare(self):
        """Lays out and formats the folder, which is no part of a start's time."""
        port = free_port(2)
        self.bootstrap = f"127.0.0.1:{port}"
        process.run([KAFKA, "start", "--format-only", "--dir", self.folder, "--port-base", port,
                     "--set", "auto.create.topics.enable=true", *self.set_each()], START_LIMIT_S)

    def start(self):
        """The time at which the JVM began: what the tool does before is no part of a start."""
        node = self.folder / "node-1"
        starter = subprocess.Popen([KAFKA, "start", "--dir", self.folder], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.starter = starter
        old = self.pid
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.pid = int((node / "pid").read_text())
            except (OSError, ValueError):
                self.pid = None
            if self.pid and self.pid != old and process.is_running(self.pid):
                return process.begun(self.pid)
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kafka did not start:\n{self.log_tail()}")
            time.sleep(0.005)

    def data(self):
        return self.folder / "node-1" / "data"

    def reap(self):
        self.starter.wait()


def compared():
    """The brokers of this run."""
    return [Kafka, Milena] if KAFKA.exists() else [Milena]
