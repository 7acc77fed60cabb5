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

    def __init__(self, folder):
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

    def log_tail(self):
        logs = sorted(self.folder.rglob("output.log"))
        return logs[0].read_text()[-2000:] if logs else ""

    def kill(self):
        process.end(self.pid, signal.SIGKILL)
        self.reap()

    def stop(self):
        process.end(self.pid)
        self.reap()

    def reap(self):
        """Forgets the process."""

    def cpu_s(self):
        return process.cpu_s(self.pid)

    def rss_bytes(self):
        return process.rss_bytes(self.pid)

    def topic(self, name, partitions, configs=()):
        """Creates a topic and waits until each partition has a leader."""
        command = [MILENA, "topic", "create", name, "-p", partitions, "-b", self.bootstrap, "--timeout", "240s"]
        for config in configs:
            command += ["-c", config]
        process.run(command, TOPIC_LIMIT_S)
        deadline = time.monotonic() + TOPIC_LIMIT_S
        with wire.Connection(self.bootstrap) as connection:
            while connection.leaders(name) < partitions:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name}: topic {name} has partitions without a leader")
                time.sleep(0.05)

    def delete_topic(self, name):
        process.run([MILENA, "topic", "delete", name, "-b", self.bootstrap, "--timeout", "240s"], TOPIC_LIMIT_S)


class Milena(Broker):
    """Ours, with its defaults."""

    name = "milena"

    def prepare(self):
        self.bootstrap = f"127.0.0.1:{free_port()}"

    def start(self):
        """The time at which the process began."""
        begun = time.monotonic()
        with open(self.folder / "output.log", "ab") as output:
            self.child = subprocess.Popen(
                [MILENA, "serve", "--data", self.folder / "data", "--listeners", f"PLAINTEXT://{self.bootstrap}",
                 "--http", ""], env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.pid = self.child.pid
        return begun

    def reap(self):
        self.child.wait()


class Kafka(Broker):
    """Apache Kafka as its shipped server.properties has it, with -Xmx1g."""

    name = "kafka"

    def prepare(self):
        """Lays out and formats the folder, which is no part of a start's time."""
        port = free_port(2)
        self.bootstrap = f"127.0.0.1:{port}"
        process.run([KAFKA, "start", "--format-only", "--dir", self.folder, "--port-base", port,
                     "--set", "auto.create.topics.enable=true"], START_LIMIT_S)

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

    def reap(self):
        self.starter.wait()


def compared():
    """The brokers of this run."""
    return [Kafka, Milena] if KAFKA.exists() else [Milena]
