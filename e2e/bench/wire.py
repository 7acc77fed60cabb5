"""The few requests that are sent by hand: as little client as there can be between the clock and the broker.

Formats: https://kafka.apache.org/protocol, the old fixed-width versions; record batch v2 from the same page.
"""

import socket
import struct
import time
from dataclasses import dataclass

ANSWER_LIMIT_S = 60
PRODUCE, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 2, 3, 18
LATEST = -1


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def batch(value):
    """A batch of one record with a value of less than 50 bytes, so that each varint is one byte."""
    record = bytes([0, 0, 0, 1, 2 * len(value)]) + value + b"\0"
    record = bytes([2 * len(record)]) + record
    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + record
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c(body)) + body


class Reader:
    """Fields of an answer, one after the other."""

    def __init__(self, answer):
        self.answer = answer
        self.at = 0

    def next(self, form):
        """One value of a struct's form."""
        (value,) = struct.unpack_from(f">{form}", self.answer, self.at)
        self.at += struct.calcsize(f">{form}")
        return value

    def string(self):
        """None is an empty one here."""
        size = max(0, self.next("h"))
        self.at += size
        return self.answer[self.at - size:self.at].decode()

    def list(self, read):
        return [read() for _ in range(self.next("i"))]


@dataclass(frozen=True)
class Partition:
    leader: int
    isr: list


@dataclass(frozen=True)
class Described:
    """What Metadata v1 says: brokers' numbers, and the partitions of all topics that were asked for."""

    brokers: list
    partitions: list

    @classmethod
    def read(cls, reader):
        def broker():
            number = reader.next("i")
            reader.string(), reader.next("i"), reader.string()
            return number

        def partition():
            reader.next("h"), reader.next("i")
            leader = reader.next("i")
            reader.list(lambda: reader.next("i"))
            return Partition(leader, reader.list(lambda: reader.next("i")))

        def topic():
            reader.next("h"), reader.string(), reader.next("b")
            return reader.list(partition)

        brokers = reader.list(broker)
        reader.next("i")  # the controller
        topics = reader.list(topic)
        return cls(brokers, [one for some in topics for one in some])


class Connection:
    """A blocking connection to one broker."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=ANSWER_LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, api, version, body):
        """The answer without its correlation id; OSError where there is none."""
        request = struct.pack(">hhi", api, version, 7) + string("bench") + body
        self.socket.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", self.exactly(4))
        return self.exactly(size)[4:]

    def exactly(self, size):
        parts = bytearray()
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise ConnectionResetError("the broker closed the connection")
            parts += part
        return bytes(parts)

    def api_versions(self):
        self.ask(API_VERSIONS, 0, b"")

    def metadata(self, topics):
        """Metadata v1, which also creates topics that are not there, where the broker does so."""
        body = struct.pack(">i", len(topics)) + b"".join(string(topic) for topic in topics)
        return self.ask(METADATA, 1, body)

    def described(self, topics):
        """Brokers, and the partitions of the topics."""
        return Described.read(Reader(self.metadata(topics)))

    def end(self, topic, partition):
        """The offset behind the last record that consumers may have (ListOffsets v1)."""
        body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, partition, LATEST)
        answer = self.ask(LIST_OFFSETS, 1, body)
        return struct.unpack_from(">q", answer, len(answer) - 8)[0]

    def leaders(self, topic):
        """How many partitions of the topic have a leader."""
        return sum(one.leader >= 0 for one in self.described([topic]).partitions)

    def produce(self, topic, partition):
        """Produce v3, acks=1, one record: the error code, 0 for none."""
        records = batch(b"first")
        body = (struct.pack(">hhii", -1, 1, 30_000, 1) + string(topic)
                + struct.pack(">iii", 1, partition, len(records)) + records)
        answer = self.ask(PRODUCE, 3, body)
        return struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)[0]
