"""Case 6: resident memory at rest, after work, with connections, and with partitions."""

import time

import clients
import load
from session import connections

REST_S = 3
CONNECTIONS = 1000
PARTITIONS = 10_000


def steps(session):
    return session.rounds


def run(session):
    """Each round starts every broker anew."""
    for index in range(session.rounds):
        session.step(f"memory, round {index + 1} of {session.rounds}")
        for kind in session.order(index):
            with session.one(kind) as broker:
                one(session, broker)


def one(session, broker):
    def note(what, figure):
        session.results.add(f"memory/{what}", broker.name, figure)
        session.say(f"  {broker.name}, {what}: {figure / (1 << 20):.2f} MiB")

    time.sleep(REST_S)
    at_rest = broker.rss_bytes()
    note("rest", at_rest)
    with connections(broker, CONNECTIONS):
        note("connection", (broker.rss_bytes() - at_rest) / CONNECTIONS)
    topic = session.new_topic()
    broker.topic(topic, 1)
    clients.raw_produce(broker, topic, load.CLASSIC.scaled(session.scale))
    note("produced", broker.rss_bytes())
    broker.delete_topic(topic)
    before = broker.rss_bytes()
    broker.topic(session.new_topic(), max(100, int(PARTITIONS * session.scale)))
    note("partitions", broker.rss_bytes())
    note("partitions-more", broker.rss_bytes() - before)
