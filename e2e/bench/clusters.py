"""Three brokers of each kind as one cluster, with the settings of a production cluster of three."""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import brokers
import process
import wire

COUNT = 3
REPLICAS, IN_SYNC = 3, 2
READY_LIMIT_S = 180


class Cluster:
    """What both kinds have in common. `with` starts it, ends it, and removes its data."""

    name = ""

    def __init__(self, folder):
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-cluster-", dir=folder))
        port = free_ports()
        self.addresses = {broker: f"127.0.0.1:{port + broker - 1}" for broker in range(1, COUNT + 1)}
        self.port = port
        self.pids = {}

    @property
    def bootstrap(self):
        return ",".join(self.addresses.values())

    def __enter__(self):
        self.start()
        self.until(lambda told: len(told.brokers) == COUNT, "all brokers are there")
        return self

    def __exit__(self, *_):
        for pid in self.pids.values():
            if process.is_running(pid):
                process.end(pid, signal.SIGKILL)
        self.reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reap(self):
        """Forgets processes that have ended."""

    def cpu_s(self):
        """Of all brokers together."""
        return sum(process.cpu_s(pid) for pid in self.pids.values())

    def rss_bytes(self):
        return sum(process.rss_bytes(pid) for pid in self.pids.values())

    def described(self, topic):
        """What every broker says; OSError where one does not answer."""
        told = []
        for broker, address in self.addresses.items():
            if process.is_running(self.pids[broker]):
                with wire.Connection(address) as connection:
                    told.append(connection.described([topic] if topic else []))
        return told

    def until(self, wanted, what, topic=None):
        """Waits until every broker that runs says what is wanted."""
        deadline = time.monotonic() + READY_LIMIT_S
        while True:
            try:
                if all(wanted(told) for told in self.described(topic)):
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: not within {READY_LIMIT_S} s: {what}")
            time.sleep(0.02)

    def until_in_sync(self, topic, partitions):
        self.until(lambda told: len(told.partitions) == partitions and all(
            one.leader >= 0 and len(one.isr) == REPLICAS for one in told.partitions), "all replicas are in sync", topic)

    def topic(self, name, partitions):
        """Creates a topic and waits until all its replicas are in sync."""
        process.run([brokers.MILENA, "topic", "create", name, "-p", partitions, "-r", REPLICAS, "-c",
                     f"min.insync.replicas={IN_SYNC}", "-b", self.bootstrap, "--timeout", "60s"], READY_LIMIT_S)
        self.until_in_sync(name, partitions)

    def leader(self, topic):
        """Of its first partition."""
        return self.described(topic)[0].partitions[0].leader

    def kill(self, broker):
        process.end(self.pids[broker], signal.SIGKILL)
        self.reap()


def free_ports():
    """A port P such that P, P+1, P+2, and P+100 and so on for peers, are free now: as `kafka start` takes them."""
    while True:
        port = brokers.free_port(2)
        if all(brokers.is_free(port + one) and brokers.is_free(port + 100 + one) for one in range(COUNT)):
            return port


class Milena(Cluster):
    """Ours."""

    name = "milena"

    def __init__(self, folder):
        super().__init__(folder)
        self.children = {}

    def start(self):
        """Starts those that are down."""
        voters = ",".join(f"{broker}@127.0.0.1:{self.port + 99 + broker}" for broker in self.addresses)
        for broker, address in self.addresses.items():
            if broker in self.pids and process.is_running(self.pids[broker]):
                continue
            settings = {
                "node.id": broker, "controller.quorum.voters": voters, "cluster.found": "true",
                "listeners": f"PLAINTEXT://{address},PEERS://127.0.0.1:{self.port + 99 + broker}",
                "default.replication.factor": REPLICAS, "min.insync.replicas": IN_SYNC}
            command = [brokers.MILENA, "serve", "--data", self.folder / f"node-{broker}", "--http", ""]
            for name, value in settings.items():
                command += ["--set", f"{name}={value}"]
            with open(self.folder / f"node-{broker}.log", "ab") as output:
                self.children[broker] = subprocess.Popen(
                    command, env=brokers.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            self.pids[broker] = self.children[broker].pid

    def reap(self):
        for child in self.children.values():
            child.poll()


class Kafka(Cluster):
    """Apache Kafka, each node broker and controller, as its shipped server.properties has it, with -Xmx1g."""

    name = "kafka"

    def start(self):
        process.run([brokers.KAFKA, "start", "--brokers", COUNT, "--dir", self.folder / "nodes", "--port-base",
                     self.port], READY_LIMIT_S)
        for broker in self.addresses:
            self.pids[broker] = int((self.folder / f"nodes/node-{broker}/pid").read_text())


def compared():
    """The clusters of this run."""
    return [Kafka, Milena] if brokers.KAFKA.exists() else [Milena]
