"""The few requests that are sent by hand: as little client as there can be between the clock and the broker.

Formats: https://kafka.apache.org/protocol, the old fixed-width versions; record batch v2 from the same page.
"""

import socket
import struct
import time

ANSWER_LIMIT_S = 60
PRODUCE, METADATA, API_VERSIONS = 0, 3, 18


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

    def leaders(self, topic):
        """How many partitions of the topic have a leader."""
        answer = self.metadata([topic])
        at = 4
        for _ in range(struct.unpack_from(">i", answer)[0]):
            at += 4
            at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
            at += 2 + max(0, struct.unpack_from(">h", answer, at)[0])
        at += 4 + 4  # controller, number of topics
        at += 2
        at += 2 + struct.unpack_from(">h", answer, at)[0] + 1
        (count,) = struct.unpack_from(">i", answer, at)
        at += 4
        leaders = 0
        for _ in range(count):
            _, _, leader = struct.unpack_from(">hii", answer, at)
            leaders += leader >= 0
            at += 10
            at += 4 + 4 * struct.unpack_from(">i", answer, at)[0]
            at += 4 + 4 * struct.unpack_from(">i", answer, at)[0]
        return leaders

    def produce(self, topic, partition):
        """Produce v3, acks=1, one record: the error code, 0 for none."""
        records = batch(b"first")
        body = (struct.pack(">hhii", -1, 1, 30_000, 1) + string(topic)
                + struct.pack(">iii", 1, partition, len(records)) + records)
        answer = self.ask(PRODUCE, 3, body)
        return struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)[0]
