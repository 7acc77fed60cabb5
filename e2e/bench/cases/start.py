"""Case 7: from the start of the process to the first acknowledged record."""

import time

import brokers
import load
import clients
import wire
from session import settle

# (name of the figures, partitions of a topic that is there besides those before it)
PARTITIONS = (("partitions", 1000), ("many", 10_000))
AFTER_WRITE = load.Load(200_000, 1000, 16 << 10)


def steps(session):
    return session.rounds


def run(session):
    """Fresh; with a thousand and then 11,000 partitions, after a clean stop and after kill -9."""
    for index in range(session.rounds):
        session.step(f"start, round {index + 1} of {session.rounds}")
        for kind in session.order(index):
            one(session, kind)


def one(session, kind):
    def note(what, seconds):
        session.results.add(f"start/{what}_s", broker.name, seconds)
        session.say(f"  {broker.name}, {what}: {seconds:.3f} s")

    settle()
    broker = kind(session.folder)
    broker.prepare()
    try:
        note("fresh", first_record(broker, "first"))
        for name, count in PARTITIONS:
            topic = session.new_topic()
            broker.topic(topic, max(10, int(count * session.scale)))
            clients.raw_produce(broker, topic, AFTER_WRITE.scaled(session.scale))
            broker.stop()
            note(name, first_record(broker, topic))
            clients.raw_produce(broker, topic, AFTER_WRITE.scaled(session.scale))
            broker.kill()
            note(f"{name}-killed", first_record(broker, topic))
    finally:
        broker.__exit__()


def first_record(broker, topic):
    """Starts the broker; seconds until it has acknowledged a record. The topic is made if it is not there."""
    begun = broker.start()
    while time.monotonic() - begun < brokers.START_LIMIT_S:
        try:
            with wire.Connection(broker.bootstrap) as connection:
                while connection.leaders(topic) == 0 or connection.produce(topic, 0) != 0:
                    time.sleep(0.002)
                return time.monotonic() - begun
        except OSError:
            time.sleep(0.002)
    raise RuntimeError(f"{broker.name} took no record within {brokers.START_LIMIT_S} s")
